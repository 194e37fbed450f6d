"""The configuration of a run that tunes an evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from capreward.errors import InputError
from capreward.option_checks import check_choice, check_range
from trainers.data.config import SourcesConfig
from trainers.evaluation.config import JudgingConfig
from trainers.runs.config import CheckpointConfig, LoggingConfig, UpdatesConfig
from trainers.runs.config_files import refuse, sections
from trainers.tuning.objective import Objective, make_objective

DECAYS = ("matrices", "published")


@dataclass(frozen=True)
class PairsConfig(SourcesConfig):
    """Images with captions, or captions alone, to tune with.

    Attributes:
        more_captions: further captions of the same items, by key, where the objective takes some: a caption file, or
            ``scenes`` for the captions of scenes in other words.
        more_images: further images of the same items: a folder, shards, a feature store, or ``scenes`` for scenes
            drawn anew.
        embed: encode the pictures once, before the first step, and keep the features with the run, where the image
            tower stays as it is; each is then read instead of being decoded and encoded whenever it is drawn.
        val_more_captions: of the held-out items; ``more_captions`` by default.
        val_more_images: of the held-out items; ``more_images`` by default.
    """

    val_count: int | None = 1000
    embed: bool = False
    more_captions: str | None = None
    more_images: str | None = None
    val_more_captions: str | None = None
    val_more_images: str | None = None


@dataclass(frozen=True)
class TuningUpdates(UpdatesConfig):
    """How the weights of an evaluator move.

    Attributes:
        decay: what weight decay is of: ``matrices``, all parameters of two dimensions or more; or ``published``, all
            but those with ``bias`` or ``LayerNorm.weight`` in their names, which for a CLIP decays its norms and the
            logit scale as well.
        clamp: keep the logit scale at ln 100 or below.
        chunk: texts at a time whose activations are kept; those of the others are computed again on the way back. The
            same gradient with less memory.
    """

    decay: str = "matrices"
    clamp: bool = False
    chunk: int | None = None

    def check(self) -> None:
        """Refuse values out of range."""
        super().check()
        check_choice("decay", self.decay, DECAYS)
        check_choice("precision", self.precision, ("fp32", "bf16"))
        if self.chunk is not None:
            check_range("chunk", self.chunk, 1, whole=True)


@dataclass(frozen=True)
class ComparingConfig(JudgingConfig):
    """How the evaluator is looked at on held-out pairs, with the first caption of each image.

    Attributes:
        best: the figure that chooses the best weights; the loss by default.
        batch_size: pairs at a time, over which the loss is computed.
    """

    batch_size: int = 200


@dataclass(frozen=True)
class TuneConfig:
    """A whole run.

    Attributes:
        objective: ``{"name": "grammar", ...options}``.
        base: the CLIP to begin with: a file, a folder, MODEL:TAG or ``scenes-clip``.
        prompt: put before every text.
        slim: leave the image tower out of what is written where it is the base's, and name the base instead.
        fp16: write the numbers of the towers in 16 bits, which rounds them.
        seed: of everything drawn by lot.
        device: ``auto``, ``cpu``, ``cuda``.
        download: fetch named weights that are not on this computer.
        about: what the recipe is, for people.
        departures: where it differs from what was published, and why.
    """

    objective: dict[str, Any] = field(default_factory=lambda: {"name": "grammar"})
    base: str = "scenes-clip"
    prompt: str = ""
    slim: bool = False
    fp16: bool = False
    seed: int = 0
    device: str = "auto"
    download: bool = False
    about: str = ""
    departures: list[str] = field(default_factory=list)
    data: PairsConfig = field(default_factory=PairsConfig)
    training: TuningUpdates = field(default_factory=TuningUpdates)
    evaluation: ComparingConfig = field(default_factory=ComparingConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)

    def check(self) -> None:
        """Refuse what does not fit together."""
        check_range("seed", self.seed, 0, 2**31 - 1, whole=True)
        if not isinstance(self.objective.get("name"), str):
            raise InputError("objective.name is missing; give --set objective.name=grammar")

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
    given = values.get("objective")
    if isinstance(given, Mapping) and "name" not in given:
        values = {**values, "objective": {"name": "grammar", **given}}
    config = sections(TuneConfig, values, wrong)
    objective = None
    try:
        if isinstance(values.get("objective", {}), Mapping):
            objective = TuneConfig(objective={"name": "grammar", **values.get("objective", {})}).make_objective()
    except InputError as error:
        wrong.append(f"objective: {error}")
    refuse(wrong)
    assert config is not None  # noqa: S101  # for the type checker: else something is wrong
    assert objective is not None  # noqa: S101  # likewise
    return replace(config, objective={"name": objective.name, **objective.options()})
