"""The preparation of a tuning run: everything that it needs, from its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError
from trainers.runs.preparation import ErrorList, check_trackers, steps_of
from trainers.tuning.config import TuneConfig
from trainers.tuning.items import Items, open_items
from trainers.tuning.objective import Objective

if TYPE_CHECKING:
    from torch import nn

    from capreward.encoders.loading import Clip
    from capreward.encoders.weights.types import Weights


@dataclass
class PreparedTuning:
    """All parts of a tuning run.

    Attributes:
        config: The configuration of the run.
        base: The weights that the run begins with.
        clip: The CLIP of these weights; its trained parameters require a gradient.
        extra: The trained modules beside the CLIP.
        objective: The objective.
        train: The training items.
        val: The held-out items, or None.
        best: The figure that selects the best weights.
        steps: The number of updates of the run.
        notes: Notes about what was taken or left out, one sentence each.
    """

    config: TuneConfig
    base: Weights
    clip: Clip
    extra: nn.ModuleDict
    objective: Objective
    train: Items
    val: Items | None
    best: str
    steps: int
    notes: list[str] = field(default_factory=list)


def prepare(config: TuneConfig, folder: Path | None, *, device: str, world: int = 1) -> PreparedTuning:
    """Load and check everything that the run will use.

    Args:
        config: The configuration of the run.
        folder: The folder of the run; None for a dry run.
        device: The device of the model.
        world: The number of processes.

    Raises:
        InputError: Something is wrong; the message names all errors.
    """
    errors = ErrorList()
    objective = config.make_objective()
    errors.attempt(lambda: check_trackers(config.logging.trackers))
    train = errors.attempt(lambda: open_items(config.data, objective))
    val = errors.attempt(lambda: open_items(config.data, objective, held_out=True)) if config.data.val else None
    loaded = errors.attempt(lambda: _load(config, device))
    if train is not None:
        errors.attempt(partial(objective.study, train.captions()))
    errors.finish()
    assert train is not None and loaded is not None  # noqa: S101, PT018  # for the type checker
    base, clip = loaded
    extra = prepare_model(clip, objective, config.seed)
    for items in (train, val):
        if items is not None:
            _check_images(items, base, clip)
    if config.data.embed and folder is not None and not _image_side(clip):
        places = (folder / "features" / name for name in ("train", "val"))
        train, val = (
            _with_features(items, clip, place, config) for items, place in zip((train, val), places, strict=True)
        )
        assert train is not None  # noqa: S101  # for the type checker
    notes = [*base.spec.notes, *train.notes, *(() if val is None else val.notes)]
    if not train.has_images:
        notes.append(f"{train.pairs.source} is used without images: there is no contrastive loss (--images adds one)")
    steps = steps_of(config, train.pairs, world)
    return PreparedTuning(
        config, base, clip, extra, objective, train, val, config.evaluation.best or "loss", steps, notes
    )


def prepare_model(clip: Clip, objective: Objective, seed: int) -> nn.ModuleDict:
    """Prepare a CLIP to learn an objective; new parameters are drawn from the seed.

    Returns:
        The modules beside the CLIP. A grammar head that the CLIP already has is trained further.
    """
    import torch

    torch.manual_seed(seed)
    clip.model.requires_grad_(True).train()
    extra = objective.prepare(clip.model).to(next(clip.model.parameters()).device)
    if clip.grammar_head is not None and "grammar_head" in extra:
        extra["grammar_head"].load_state_dict(clip.grammar_head.state_dict())
    return extra


def trained_names(clip: Clip, extra: nn.ModuleDict) -> Sequence[str]:
    """Return the names of the trained parameters."""
    both = [*clip.model.named_parameters(), *extra.named_parameters()]
    return [name for name, parameter in both if parameter.requires_grad]


def _load(config: TuneConfig, device: str) -> tuple[Weights, Clip]:
    from capreward.encoders.loading import clip_of
    from capreward.encoders.model.open_clip_model import check_scale
    from capreward.encoders.weights.source import read_weights
    from capreward.encoders.weights.types import WeightsRequest

    base = read_weights(config.base, WeightsRequest(download=config.download))
    check_scale(base.tensors, config.base)
    return base, clip_of(base, device=device, download=config.download)


def _with_features(items: Items | None, clip: Clip, place: Path, config: TuneConfig) -> Items | None:
    """Return the items with features in place of pictures, if they have pictures."""
    from trainers.tuning.stored_images import with_stored_features

    pictures = items is not None and items.has_images and items.stored is None
    return with_stored_features(items, clip, place, config.data.workers) if items is not None and pictures else items


def _image_side(clip: Clip) -> list[str]:
    """Return the names of the trained parameters of the image tower."""
    return [n for n, p in clip.model.named_parameters() if n.startswith("visual.") and p.requires_grad]


def _check_images(items: Items, base: Weights, clip: Clip) -> None:
    """Refuse images that this CLIP cannot be tuned with.

    Raises:
        InputError: There are pictures for a CLIP without an image tower, features of another CLIP, or features although
            the image side is trained.
    """
    if not items.has_images:
        return
    store: Any = items.stored
    learns = _image_side(clip)
    if store is None:
        if not base.spec.model_cfg["vision_cfg"]:
            raise InputError(
                f"{base.spec.name} has no image tower; give --images a feature store of the CLIP that it was tuned "
                "from, or --images none"
            )
        return
    if learns:
        raise InputError(f"{store.path} holds features, and the image side learns here ({learns[0]}); give pictures")
    ignored = ("prec",) if base.spec.model_cfg["vision_cfg"] else ("prec", "model", "sha")
    store.check(base.spec.fields(), ignore=ignored, shape=(int(base.spec.model_cfg["embed_dim"]),))
