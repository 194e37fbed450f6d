"""The training of the CLIPs that ship with the ``scenes`` world, on the CPU.

python -m trainers.tuning.scenes_clip clip      # the evaluator, a small ViT
python -m trainers.tuning.scenes_clip judge     # the held-out judge: another architecture and seed
python -m trainers.tuning.scenes_clip pacs      # the evaluator tuned on positive-augmented pairs (needs clip)

Each command writes an open_clip folder (safetensors in float16, config, vocabulary) into
``capreward/data/scenes/weights`` and its training curve into ``benchmarks/results``.
"""

from __future__ import annotations

import json
import math
import platform
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.command_classes import Command
from trainers.tuning.contrastive_losses import info_nce, positive_augmented, retrieval
from trainers.tuning.new_clip import VOCABULARY, new_config, new_model, save_folder
from trainers.tuning.scenes_data import Batch, SceneBatches, held_out

if TYPE_CHECKING:
    from torch import Tensor, nn

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "capreward" / "data" / "scenes" / "weights"
RESULTS = ROOT / "benchmarks" / "results"
PROMPT = "A photo depicts "
EMBED, CONTEXT, SIZE = 128, 64, 64
VIT = {"image_size": SIZE, "layers": 4, "width": 96, "head_width": 32, "patch_size": 8}
RESNET = {"image_size": SIZE, "layers": [2, 2, 2, 1], "width": 12}
TEXT = {"context_length": CONTEXT, "width": 96, "heads": 4, "layers": 2}
SHALLOW = {"context_length": CONTEXT, "width": 64, "heads": 4, "layers": 2}


@dataclass(frozen=True)
class Plan:
    """The settings of the training of one CLIP."""

    seed: int
    steps: int
    batch: int
    rate: float
    vision: dict[str, Any] = field(default_factory=lambda: VIT)
    text: dict[str, Any] = field(default_factory=lambda: TEXT)
    warm_up: int = 200
    decay: float = 0.05
    augmented: bool = False
    first: int = 0


PLANS = {
    "clip": Plan(seed=1, steps=2200, batch=192, rate=1e-3),
    "judge": Plan(seed=2, steps=2000, batch=192, rate=1e-3, vision=RESNET, text=SHALLOW, first=10_000_000),
    "pacs": Plan(seed=3, steps=400, batch=192, rate=3e-4, warm_up=50, augmented=True, first=20_000_000),
}


@click.command(cls=Command)
@click.argument("name", type=click.Choice(list(PLANS)))
@click.option("--steps", type=int, help="Instead of the plan's; for a trial.")
@click.option("--out", type=click.Path(path_type=Path), default=WEIGHTS, show_default=True, help="Folder of folders.")
@click.option("--threads", type=int, default=1, show_default=True, help="Processor cores.")
def main(name: str, steps: int | None, out: Path, threads: int) -> None:
    """Train one of the scenes weights and write its folder and its curve."""
    import torch

    torch.set_num_threads(threads)
    plan = PLANS[name]
    if steps is not None:
        plan = Plan(**{**asdict(plan), "steps": steps})
    torch.manual_seed(plan.seed)
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    if plan.augmented:
        config, model, tokenizer = _load(out / "clip")
        (folder / VOCABULARY).write_bytes((out / "clip" / VOCABULARY).read_bytes())
        _train_only_projections(model)
    else:
        config, model, tokenizer = _new_model(plan, folder)
    began = time.perf_counter()
    curve = train(model, tokenizer, plan)
    seconds = time.perf_counter() - began
    save_folder(model, config, folder)
    _, shipped, _ = _load(folder)  # what ships is rounded to float16: measure that
    test = {split: evaluate(shipped, tokenizer, held_out(split, 1000)) for split in ("val", "test")}
    size = sum(p.stat().st_size for p in folder.iterdir())
    report = {
        "command": f"python -m trainers.tuning.scenes_clip {name}",
        "plan": asdict(plan),
        "parameters": sum(p.numel() for p in shipped.parameters()),
        "bytes": size,
        "seconds": round(seconds),
        "threads": threads,
        "machine": {"processor": _processor(), "python": platform.python_version(), "torch": torch.__version__},
        "retrieval_of_1000": test,
        "curve": curve,
    }
    results = RESULTS if out == WEIGHTS and steps is None else out  # a trial leaves the kept curve alone
    (results / f"scenes_{name}.json").write_text(json.dumps(report, indent=1) + "\n")
    click.echo(json.dumps({k: report[k] for k in ("bytes", "seconds", "parameters", "retrieval_of_1000")}, indent=1))


def train(model: nn.Module, tokenizer: Any, plan: Plan) -> list[dict[str, float]]:
    """Train the model in place; return the curve, one row per hundred steps."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    batches = SceneBatches(plan.batch, seed=plan.seed, first=plan.first, augmented=plan.augmented)
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": plan.decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98), eps=1e-6)
    validation = held_out("val", 500)
    curve: list[dict[str, float]] = []
    began, loss_sum = time.perf_counter(), 0.0
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * _schedule(step, plan)
        model.train()
        with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):  # its backward is the faster
            loss = _loss(model, tokenizer, batches, plan)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))  # type: ignore[operator]
        loss_sum += loss.item()
        if (step + 1) % 100 == 0:
            shares = evaluate(model, tokenizer, validation)
            row = {"step": step + 1, "loss": round(loss_sum / 100, 4), "val_r1_of_500": shares["text_to_image_r1"]}
            curve.append({**row, "seconds": round(time.perf_counter() - began, 1)})
            click.echo(curve[-1], err=True)
            loss_sum = 0.0
    return curve


def evaluate(model: nn.Module, tokenizer: Any, data: Batch) -> dict[str, float]:
    """Compute the retrieval among the pictures of ``data`` by their captions, and the other way round, in [0, 1]."""
    import torch

    model.eval()
    with torch.no_grad():
        image = torch.cat([_image(model, part) for part in data.pixels.split(250)])  # type: ignore[no-untyped-call]
        lines = [data.captions[at : at + 250] for at in range(0, len(data.captions), 250)]
        text = torch.cat([_text(model, tokenizer, part) for part in lines])
    return {name: round(share, 4) for name, share in retrieval(image, text).items()}


def _loss(model: nn.Module, tokenizer: Any, batches: SceneBatches, plan: Plan) -> Tensor:
    scale: Tensor = model.logit_scale.exp()  # type: ignore[operator]
    first, more = batches.pair()
    image, text = _image(model, first.pixels), _text(model, tokenizer, first.captions)
    if not plan.augmented:
        return info_nce(image, text, scale)
    return positive_augmented(image, text, _image(model, more.pixels), _text(model, tokenizer, more.captions), scale)


def _image(model: nn.Module, pixels: Tensor) -> Tensor:
    """Return features [B, D], L2-normalised, of pictures uint8 [B, S, S, 3]."""
    from torch.nn.functional import normalize

    ready = (pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    return normalize(model.encode_image(ready).float(), dim=-1)  # type: ignore[operator]


def _text(model: nn.Module, tokenizer: Any, captions: list[str]) -> Tensor:
    """Return features [B, D], L2-normalised, of captions after the prompt that the evaluators use."""
    from torch.nn.functional import normalize

    from capreward.encoders.model.text_tower import trimmed_text_features

    tokens = tokenizer([PROMPT + caption for caption in captions])
    longest = int(tokens.argmax(-1).max()) + 1
    return normalize(trimmed_text_features(model, tokens[:, :longest]).float(), dim=-1)


def _new_model(plan: Plan, folder: Path) -> tuple[dict[str, Any], nn.Module, Any]:
    """Return configuration, model and tokenizer for training from scratch, and write the vocabulary."""
    from capreward.data.scenes import scene

    texts = [PROMPT + caption for index in range(8000) for caption in scene("train", index).captions]
    config = new_config(folder, texts, embed=EMBED, vision=plan.vision, text=plan.text)
    return config, new_model(config), _tokenizer(folder)


def _load(folder: Path) -> tuple[dict[str, Any], nn.Module, Any]:
    """Return the saved configuration, model and tokenizer, in float32."""
    from safetensors.torch import load_file

    config = json.loads((folder / "open_clip_config.json").read_text())
    model = new_model(config)
    model.load_state_dict(load_file(folder / "open_clip_model.safetensors"))
    return config, model, _tokenizer(folder)


def _tokenizer(folder: Path) -> Any:
    from capreward.encoders.model.open_clip_import import import_open_clip

    return import_open_clip().SimpleTokenizer(str(folder / VOCABULARY), context_length=CONTEXT)


def _train_only_projections(model: nn.Module) -> None:
    """Freeze all but the last projection of both towers, as PAC-S does."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name in ("visual.proj", "text_projection")


def _schedule(step: int, plan: Plan) -> float:
    """Return the factor of the learning rate: linear warm-up, then half a cosine down to zero."""
    if step < plan.warm_up:
        return (step + 1) / plan.warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - plan.warm_up) / max(1, plan.steps - plan.warm_up)))


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
