"""The configuration of a run that tunes an evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import field_validator

from capreward.errors import InputError
from capreward.option_types import TEXT, Flag, Options, Section, Text, Texts, WholeFromOne
from trainers.data.config import SourcesConfig
from trainers.evaluation.config import JudgingConfig
from trainers.runs.config import CheckpointConfig, LoggingConfig, Seed, UpdatesConfig
from trainers.runs.config_checks import checked, refuse
from trainers.runs.config_files import is_named
from trainers.tuning.objective import Objective, make_objective


@dataclass(frozen=True)
class PairsConfig(SourcesConfig):
    """Images with captions, or captions alone, to tune with.

    Attributes:
        embed: If this is true and the image tower stays as it is, the pictures are encoded once, before the first
            step, and their features are kept with the run. By default a picture is decoded and encoded whenever it is
            drawn.
        more_captions: This names further captions of the same items, by key, where the objective takes some: a caption
            file, or ``scenes`` for the captions of scenes in other words. By default there are none.
        more_images: This names further images of the same items: a folder, shards, a feature store, or ``scenes`` for
            scenes drawn anew. By default there are none.
        val_more_captions: This names further captions of the held-out items. By default it is ``more_captions``.
        val_more_images: This names further images of the held-out items. By default it is ``more_images``.
    """

    val_count: WholeFromOne | None = 1000
    embed: Flag = False
    more_captions: Text | None = None
    more_images: Text | None = None
    val_more_captions: Text | None = None
    val_more_images: Text | None = None


@dataclass(frozen=True)
class TuningUpdates(UpdatesConfig):
    """How the weights of an evaluator move.

    Attributes:
        weight_decay: This is the weight decay of AdamW, at least 0; ``decay`` says what it acts on. By default there is
            none.
        precision: The computation runs in ``fp32``, or by autocast in ``bf16``.
        decay: With ``matrices`` the weight decay acts on all parameters of two dimensions or more. With ``published``
            it acts on all but those with ``bias`` or ``LayerNorm.weight`` in their names, which for a CLIP includes its
            norms and the logit scale.
        clamp: If this is true, the logit scale is kept at ln 100 or below. By default it is free.
        chunk: The activations of so many texts at a time are kept, at least 1; those of the others are computed again
            on the way back. The gradient is the same and takes less memory. By default all are kept.
    """

    precision: Annotated[Literal["fp32", "bf16"], TEXT] = "fp32"
    decay: Annotated[Literal["matrices", "published"], TEXT] = "matrices"
    clamp: Flag = False
    chunk: WholeFromOne | None = None


@dataclass(frozen=True)
class ComparingConfig(JudgingConfig):
    """How the evaluator is looked at on held-out pairs, with the first caption of each image.

    Attributes:
        best: This is the figure that chooses the best weights. By default it is the loss.
        batch_size: So many pairs are evaluated at a time, at least 1; the loss is computed over each such batch.
    """

    batch_size: WholeFromOne = 200


@dataclass(frozen=True)
class TuneConfig(Section):
    """A whole run that tunes an evaluator.

    Attributes:
        objective: This is what is learned, by its name, such as ``grammar``, with its options. By default it is
            ``grammar``.
        base: This names the CLIP to begin with: a file, a folder, MODEL:TAG or ``scenes-clip``.
        prompt: This text is put before every text. By default there is none.
        slim: If this is true, the image tower is left out of what is written where it is that of the base, and the base
            is named instead. By default it is written.
        fp16: If this is true, the numbers of the towers are written in 16 bits, which rounds them. By default they are
            written in 32 bits.
        seed: This is the seed of everything that is drawn by lot, at least 0.
        device: The run uses ``cpu`` or ``cuda``. With ``auto`` it uses a GPU if there is one.
        download: If this is true, named weights that are not on this computer are fetched. By default they are not.
        about: This says for people what the configuration is.
        departures: These say for people where the configuration differs from what was published, and why.
        data: This section says what the evaluator learns from and what is held out.
        training: This section says how the weights move.
        evaluation: This section says how the evaluator is looked at on held-out pairs while it learns.
        checkpoint: This section says when the run can be taken up again.
        logging: This section says what the run tells while it learns.
    """

    objective: Options = field(default_factory=lambda: {"name": "grammar"})
    base: Text = "scenes-clip"
    prompt: Text = ""
    slim: Flag = False
    fp16: Flag = False
    seed: Seed = 0
    device: Text = "auto"
    download: Flag = False
    about: Text = ""
    departures: Texts = field(default_factory=list)
    data: PairsConfig = field(default_factory=PairsConfig)
    training: TuningUpdates = field(default_factory=TuningUpdates)
    evaluation: ComparingConfig = field(default_factory=ComparingConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)

    @field_validator("objective")
    @classmethod
    def _is_named(cls, objective: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(objective.get("name"), str):
            raise InputError("objective.name is missing; give --set objective.name=grammar")
        return objective

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are written to ``config.yaml``."""
        told = asdict(self)
        told["training"]["betas"] = list(self.training.betas)
        return told

    def make_objective(self) -> Objective:
        """What is learned."""
        return make_objective(self.objective["name"], {k: v for k, v in self.objective.items() if k != "name"})


def build(values: Mapping[str, Any]) -> TuneConfig:
    """A checked configuration.

    Raises:
        InputError: everything that is wrong, one line each.
    """
    wrong: list[str] = []
    given = values.get("objective", {})
    if isinstance(given, Mapping) and "name" not in given:
        values = {**values, "objective": {"name": "grammar", **given}}
    config = checked(TuneConfig, values, wrong)
    objective = None
    try:
        if is_named(values["objective"]):
            objective = TuneConfig(objective=dict(values["objective"])).make_objective()
    except InputError as error:
        wrong.append(f"objective: {error}")
    refuse(wrong)
    assert config is not None  # noqa: S101  # for the type checker: else something is wrong
    assert objective is not None  # noqa: S101  # likewise
    return replace(config, objective={"name": objective.name, **objective.options()})
