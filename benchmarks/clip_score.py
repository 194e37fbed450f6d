"""CLIP-S against the bare encoder and torchmetrics' CLIPScore, in one run on one machine.

    python benchmarks/clip_score.py [--data FOLDER] [--model ViT-B-32] [--device cpu] [--images 32] [--runs 3]

All of them run the same random weights of the same architecture, for speed does not depend on the weights. Ratios are
the peer's time divided by ours, both measured in turn: 0.9 of the bare forward means that all that is around the
encoder costs a tenth of it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from common import ROOT, against, options, save, seconds

import capreward
from capreward.encoders.encoder import Pixels

SEED = 0
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PROMPT = "A photo depicts "


class Subject:
    """One set of random weights, captions and photos.

    Args:
        folder: where the weights are written, if they are not there yet.
        model: open_clip's name of the architecture, or its configuration.
        device: ``cpu`` or ``cuda``.
        captions: texts, 20 for each image.
        images: how many pictures there are as preprocessed tensors, on the device.
        photos: files of pictures.
        precision: of both sides.
    """

    def __init__(
        self,
        folder: Path,
        model: str | dict[str, Any],
        device: str,
        captions: Sequence[str],
        images: int,
        *,
        photos: Sequence[Path] = (),
        precision: str = "fp32",
    ) -> None:
        import open_clip

        torch.manual_seed(SEED)
        config = open_clip.get_model_config(model) if isinstance(model, str) else model
        config = {**config, "quick_gelu": True}
        self.device, self.dtype = device, DTYPES[precision]
        cast = None if precision == "fp32" else self.dtype  # as open_clip.create_model does it
        with torch.device(device):
            self.model = open_clip.CLIP(**deepcopy(config), cast_dtype=cast).eval()
        self.tokenizer = open_clip.SimpleTokenizer(context_length=config["text_cfg"]["context_length"])
        write_weights(folder, self.model, config)
        if cast is not None:
            open_clip.convert_weights_to_lp(self.model, dtype=cast)
        self.evaluator = capreward.load("clips", checkpoint=f"local-dir:{folder}", device=device, precision=precision)
        self.captions, self.photos = captions, photos
        size = config["vision_cfg"]["image_size"]
        self.pixels = torch.randn(images, 3, size, size).to(device)

    def samples(self, per_image: int) -> capreward.Samples:
        """Preprocessed tensors with ``per_image`` different captions each."""
        n = len(self.pixels)
        item = [i for i in range(n) for _ in range(per_image)]
        images = [Pixels(p) for p in self.pixels]
        return capreward.Samples(self.captions[: n * per_image], images=images, item=item)

    def bare(self, per_image: int, batch: int) -> None:
        """The encoder's own forward on the same tensors: tokens made beforehand, whole context."""
        with torch.no_grad():
            for at in range(0, len(self.pixels), batch):
                self.model.encode_image(self.pixels[at : at + batch].to(self.dtype))
            tokens = self.tokens[: len(self.pixels) * per_image]
            for at in range(0, len(tokens), 2 * batch):
                self.model.encode_text(tokens[at : at + 2 * batch].to(self.device))
        self.wait()

    @property
    def tokens(self) -> torch.Tensor:
        """All captions with the prompt, [N, 77]."""
        if not hasattr(self, "_tokens"):
            self._tokens = self.tokenizer([PROMPT + c for c in self.captions])
        return self._tokens

    def score(self, per_image: int) -> None:
        """What a trainer calls: samples in, values out; nothing is remembered from call to call."""
        self.evaluator(self.samples(per_image))
        self.wait()

    def wait(self) -> None:
        """Until the GPU is done."""
        if self.device != "cpu":
            torch.cuda.synchronize()


def write_weights(folder: Path, model: torch.nn.Module, config: dict[str, Any]) -> None:
    """An open_clip ``local-dir`` of a model, unless there is one."""
    from safetensors.torch import save_file

    if (folder / "open_clip_config.json").exists():
        return
    folder.mkdir(exist_ok=True)
    state = {k: v.contiguous().cpu() for k, v in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))


def coco(data: Path, images: int) -> tuple[list[str], list[Path]]:
    """Captions, 20 for each image, and photos, over and over where there are fewer."""
    known = json.loads((data / "coco_photos/captions.json").read_text())
    rows = known["images"] if isinstance(known, dict) and "images" in known else known
    photos = sorted((data / "coco_photos/images").iterdir())
    return list(islice(cycle(_captions(rows)), 20 * images)), list(islice(cycle(photos), images))


def _captions(rows: Any) -> list[str]:
    values = rows.values() if isinstance(rows, dict) else rows
    return [c for row in values for c in (row["captions"] if isinstance(row, dict) else row)]


def forward(subject: Subject, runs: int) -> dict[str, Any]:
    """Scores per second from preprocessed tensors, against the bare forward, with 1, 5 and 20 candidates per image."""
    figures: dict[str, Any] = {}
    batch = 32 if subject.device == "cpu" else 256
    _ = subject.tokens
    for per_image in (1, 5, 20):
        row = against(lambda k=per_image: subject.score(k), lambda k=per_image: subject.bare(k, batch), runs=runs)
        row["images_per_s"] = len(subject.pixels) / row["ours_s"]
        row["captions_per_s"] = len(subject.pixels) * per_image / row["ours_s"]
        figures[f"{per_image}_per_image"] = row
    image = seconds(lambda: subject.evaluator.prepare(subject.samples(1)))
    figures["image_side_s"] = image
    figures["text_side_s"] = {k: figures[f"{k}_per_image"]["ours_s"] - image for k in (1, 5, 20)}
    return figures


def loader(subject: Subject, runs: int) -> dict[str, Any]:
    """The same from photo files, and the loader's share: decoding, resizing and cropping alone."""
    from capreward.data.images.crop_loader import Loader
    from capreward.data.images.picture_types import as_picture

    n = len(subject.photos)
    paths = [str(p) for p in subject.photos]
    distinct = list(dict.fromkeys(paths))
    encoder = subject.evaluator.encoder(capreward.Samples(["x"], images=[paths[0]]))
    pictures = [as_picture(p) for p in distinct]

    def decode() -> None:
        for _ in Loader(pictures, encoder.spec.preprocessing, batch_size=32):
            pass

    def whole() -> None:
        subject.evaluator(capreward.Samples(subject.captions[: len(distinct)], images=distinct))
        subject.wait()

    row = against(whole, decode, runs=runs)
    return {
        "images": len(distinct),
        "asked": n,
        "whole_s": row["ours_s"],
        "loader_s": row["peer_s"],
        "loader_share_if_not_overlapped": row["ratio"],
        "images_per_s": len(distinct) / row["ours_s"],
        "decoded_per_s": len(distinct) / row["peer_s"],
    }


def torchmetrics_peer(subject: Subject, folder: Path, runs: int) -> dict[str, Any]:
    """Against torchmetrics' CLIPScore on transformers' model of the same size, from the same photos in memory."""
    from PIL import Image

    peer = _peer(subject, folder)
    distinct = list(dict.fromkeys(str(p) for p in subject.photos))
    opened = [Image.open(p).convert("RGB") for p in distinct]
    import numpy as np

    arrays = [torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) for image in opened]
    n = len(distinct)

    def ours(per_image: int) -> None:
        item = [i for i in range(n) for _ in range(per_image)]
        subject.evaluator(capreward.Samples(subject.captions[: n * per_image], images=opened, item=item))
        subject.wait()

    def theirs(per_image: int) -> None:
        peer.reset()
        for k in range(per_image):  # it takes one caption per image, and encodes the image for each
            peer.update(arrays, subject.captions[k * n : (k + 1) * n])
        peer.compute()
        subject.wait()

    rows = {f"{k}_per_image": against(lambda k=k: ours(k), lambda k=k: theirs(k), runs=runs) for k in (1, 5)}
    return {"images": n, "prompt": "ours only, three tokens per caption", **rows}


def _peer(subject: Subject, folder: Path) -> Any:
    """The metric of torchmetrics over a transformers model of the same size, with CLIP's own vocabulary."""
    import gzip

    import open_clip
    from torchmetrics.multimodal import CLIPScore
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    encoder = subject.tokenizer.encoder
    spelt = {
        k.replace("<start_of_text>", "<|startoftext|>").replace("<end_of_text>", "<|endoftext|>"): v
        for k, v in encoder.items()
    }
    (folder / "vocab.json").write_text(json.dumps(spelt))
    source = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    merges = gzip.decompress(source.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))

    class Tensors(CLIPModel):  # type: ignore[misc]
        """Gives features as tensors, which torchmetrics 1.9 expects; transformers 5 wraps them."""

        def get_image_features(self, *given: Any, **named: Any) -> Any:
            found = super().get_image_features(*given, **named)
            return getattr(found, "pooler_output", found)

        def get_text_features(self, *given: Any, **named: Any) -> Any:
            found = super().get_text_features(*given, **named)
            return getattr(found, "pooler_output", found)

    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    processor = CLIPProcessor(CLIPImageProcessor(), tokenizer)
    torch.manual_seed(SEED)
    model = Tensors(CLIPConfig()).eval().to(subject.device)
    return CLIPScore(lambda: (model, processor)).to(subject.device)


def main() -> None:
    """Run the sections asked for, print and keep their figures."""
    parser = options(__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("CAPREWARD_DATA", ROOT.parent / "shared/data"))
    )
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--only", default="forward,loader,torchmetrics")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    if not (given.data / "coco_photos").is_dir():
        sys.exit(f"there is no folder {given.data}/coco_photos; name the data with --data")
    warnings.simplefilter("ignore")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        captions, photos = coco(given.data, given.images)
        subject = Subject(Path(name), given.model, given.device, captions, given.images, photos=photos)
        sections: dict[str, Callable[[], dict[str, Any]]] = {
            "forward": lambda: forward(subject, given.runs),
            "loader": lambda: loader(subject, given.runs),
            "torchmetrics": lambda: torchmetrics_peer(subject, Path(name), given.runs),
        }
        for section in given.only.split(","):
            figures[section] = sections[section]()
            print(f"{section}: {json.dumps(figures[section], indent=2)}", flush=True)
    figures["model"], figures["device"], figures["threads"] = given.model, given.device, torch.get_num_threads()
    told = f"--model {given.model} --device {given.device} --images {given.images} --runs {given.runs}"
    suffix = "" if given.device == "cpu" else f"_{given.device.partition(':')[0]}"
    kept = save(f"clip_score{suffix}", figures, f"python benchmarks/clip_score.py {told}", SEED, given.out)
    print(f"kept in {kept}")


if __name__ == "__main__":
    main()
