"""The folder of a tuned CLIP, which every evaluator loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.encoders.weights.conversion import write_folder

if TYPE_CHECKING:
    from trainers.tuning.preparation import PreparedTuning

HEAD = "grammar_head"


def write_tuned(ready: PreparedTuning, step: int, path: Path) -> None:
    """Write the model, its grammar head if there is one, and their origin.

    Args:
        ready: The parts of the run, with the model as it is now.
        step: The step of the run.
        path: The folder to fill.
    """
    config, base = ready.config, ready.base
    folded = ready.objective.folded(ready.clip.model, ready.extra)
    tensors = {name: tensor.detach().cpu() for name, tensor in folded.items()}
    record: dict[str, Any] = {"tuned": {"objective": config.objective, "prompt": config.prompt, "steps": step}}
    if not base.spec.model_cfg["vision_cfg"]:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("visual.")}
    elif config.slim:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("visual.")}
        record["base"] = {"source": _absolute_source(config.base), "sha256": base.spec.sha256}
    head = None
    if HEAD in ready.extra:
        state = ready.extra.get_submodule(HEAD).state_dict()
        head = {name: tensor.detach().cpu() for name, tensor in state.items()}
    spec = replace(base.spec, layout=ready.objective.layout)
    tuned = replace(base, spec=spec, tensors=tensors, head=head)
    write_folder(tuned, ready.clip.tokenizer, path, fp16=config.fp16, record=record)


def _absolute_source(source: str) -> str:
    """Return a name of the same weights that is valid in any working directory."""
    path = Path(source.removeprefix("local-dir:")).expanduser()
    return str(path.resolve()) if path.exists() else source
