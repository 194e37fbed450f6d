"""The configuration of a training run: the sections of all rooms, checked, saved with the run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from capreward.errors import InputError
from capreward.option_checks import check_choice, check_range
from trainers.captioners.config import CaptionerConfig
from trainers.data.config import DataConfig
from trainers.evaluation.config import EvaluationConfig
from trainers.rewards.config import RewardConfig
from trainers.watch.config import DiagnosticsConfig

SCHEDULES = ("constant", "linear", "cosine", "noam")
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class UpdatesConfig:
    """How weights move.

    Attributes:
        steps: updates; or ``epochs`` says it.
        epochs: passes over the training items.
        batch_size: images per process, of a captioner also per micro-batch.
        lr: learning rate; with ``noam`` the factor.
        schedule: after the warm-up: ``constant``, ``linear`` or ``cosine`` to zero, or ``noam``.
        warmup: steps of linear warm-up, or below 1 their share.
        betas: of AdamW.
        eps: of AdamW.
        weight_decay: of a captioner's matrices alone; biases and norms are left as they are.
        clip: largest norm of the gradient; none: not clipped.
        precision: ``fp32``, ``bf16`` or ``fp16`` autocast. Log-probabilities are float32 in any case.
    """

    steps: int | None = None
    epochs: float | None = None
    batch_size: int = 16
    lr: float = 1e-4
    schedule: str = "constant"
    warmup: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip: float | None = 1.0
    precision: str = "fp32"

    def check(self) -> None:
        """Refuse values out of range."""
        if (self.steps is None) == (self.epochs is None):
            raise InputError("give either steps or epochs")
        check_range("steps", 0 if self.steps is None else self.steps, 0, whole=True)
        check_range("epochs", 1 if self.epochs is None else self.epochs, 1e-6)
        check_range("batch_size", self.batch_size, 1, whole=True)
        check_range("lr", self.lr, 0)
        check_range("warmup", self.warmup, 0)
        check_range("eps", self.eps, 0)
        check_range("weight_decay", self.weight_decay, 0)
        for beta in self.betas:
            check_range("betas", beta, 0, 0.999999)
        if self.clip is not None:
            check_range("clip", self.clip, 1e-12)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("precision", self.precision, PRECISIONS)
        if self.schedule == "noam" and self.warmup < 1:
            raise InputError("the noam schedule needs a warmup of at least 1 step")


@dataclass(frozen=True)
class TrainingConfig(UpdatesConfig):
    """How a captioner's weights move.

    Attributes:
        accumulation: micro-batches per update.
    """

    accumulation: int = 1

    def check(self) -> None:
        """Refuse values out of range."""
        super().check()
        check_range("accumulation", self.accumulation, 1, whole=True)


@dataclass(frozen=True)
class CheckpointConfig:
    """When the run can be taken up again.

    Attributes:
        every: steps between checkpoints.
        keep: newest checkpoints kept.
    """

    every: int = 100
    keep: int = 2

    def check(self) -> None:
        """Refuse values out of range."""
        check_range("every", self.every, 1, whole=True)
        check_range("keep", self.keep, 1, whole=True)


@dataclass(frozen=True)
class LoggingConfig:
    """What is told.

    Attributes:
        every: steps between rows of metrics.jsonl.
        trackers: of accelerate: ``tensorboard``, ``wandb``, ``trackio``, ...
        project: name for trackers that group runs.
    """

    every: int = 10
    trackers: list[str] = field(default_factory=list)
    project: str = "capreward"

    def check(self) -> None:
        """Refuse values out of range."""
        check_range("every", self.every, 1, whole=True)


@dataclass(frozen=True)
class RunConfig:
    """A whole run.

    Attributes:
        optimizer: ``{"name": "dico", ...options}``.
        seed: of everything drawn by lot.
        device: ``auto``, ``cpu``, ``cuda``.
        plugins: Python files with rewards of one's own.
        download: fetch named weights that are not on this computer.
        about: what the recipe is, for people.
        departures: where it differs from what was published, and why.
    """

    optimizer: dict[str, Any] = field(default_factory=lambda: {"name": "xe"})
    seed: int = 0
    device: str = "auto"
    plugins: list[str] = field(default_factory=list)
    download: bool = False
    about: str = ""
    departures: list[str] = field(default_factory=list)
    captioner: CaptionerConfig = field(default_factory=CaptionerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)

    def check(self) -> None:
        """Refuse what does not fit together."""
        check_range("seed", self.seed, 0, 2**31 - 1, whole=True)
        if not isinstance(self.optimizer.get("name"), str):
            raise InputError("optimizer.name is missing; give --optimizer xe, scst or dico")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are written to ``config.yaml``."""
        told = asdict(self)
        told["training"]["betas"] = list(self.training.betas)
        return told
