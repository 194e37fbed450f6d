"""The configuration of a training run: the sections of all rooms, checked, saved with the run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from capreward.errors import InputError
from capreward.option_types import (
    FINITE,
    NUMBER,
    PAIR,
    STRICT,
    TEXT,
    WHOLE,
    Flag,
    FromZero,
    Options,
    Section,
    Text,
    Texts,
    WholeFromOne,
    WholeFromZero,
)
from trainers.captioners.config import CaptionerConfig
from trainers.data.config import DataConfig
from trainers.evaluation.config import EvaluationConfig
from trainers.rewards.config import RewardConfig
from trainers.watch.config import DiagnosticsConfig

Beta = Annotated[float, FINITE, Field(ge=0, le=0.999999), NUMBER]
Seed = Annotated[int, STRICT, Field(ge=0, le=2**31 - 1), WHOLE]


@dataclass(frozen=True)
class UpdatesConfig(Section):
    """How weights move.

    Attributes:
        steps: This is the number of updates of the weights, at least 0. Give it or ``epochs``, not both.
        epochs: This is the number of passes over the training items, above 0. Give it or ``steps``, not both.
        batch_size: So many items are learned from at a time in each process, at least 1. For a captioner these are the
            images of one micro-batch.
        lr: This is the learning rate, at least 0. With the schedule ``noam`` it is the factor of that schedule.
        schedule: After the warm-up the learning rate is ``constant``, falls to zero as ``linear`` or ``cosine``, or
            follows ``noam``.
        warmup: The learning rate rises from zero for so many steps; a number below 1 is a share of all steps. By
            default there is no warm-up.
        betas: These are the two decay rates of AdamW's moments, each at least 0 and below 1.
        eps: This is the number that AdamW adds to its denominator, at least 0.
        weight_decay: This is the weight decay of AdamW, at least 0. For a captioner it acts on matrices alone; biases
            and norms are left as they are. By default there is none.
        clip: The norm of the gradient is cut to this number, above 0. With null it is not cut.
        precision: The computation runs in ``fp32``, or by autocast in ``bf16`` or ``fp16``. Log-probabilities are
            float32 in any case.
    """

    steps: WholeFromZero | None = None
    epochs: Annotated[float, FINITE, Field(ge=1e-6), NUMBER] | None = None
    batch_size: WholeFromOne = 16
    lr: FromZero = 1e-4
    schedule: Annotated[Literal["constant", "linear", "cosine", "noam"], TEXT] = "constant"
    warmup: FromZero = 0.0
    betas: Annotated[tuple[Beta, Beta], STRICT, PAIR] = (0.9, 0.999)
    eps: FromZero = 1e-8
    weight_decay: FromZero = 0.0
    clip: Annotated[float, FINITE, Field(ge=1e-12), NUMBER] | None = 1.0
    precision: Annotated[Literal["fp32", "bf16", "fp16"], TEXT] = "fp32"

    @model_validator(mode="after")
    def check(self) -> UpdatesConfig:
        """Refuse values that do not go together."""
        if (self.steps is None) == (self.epochs is None):
            raise InputError("give either steps or epochs")
        if self.schedule == "noam" and self.warmup < 1:
            raise InputError("the noam schedule needs a warmup of at least 1 step")
        return self


@dataclass(frozen=True)
class TrainingConfig(UpdatesConfig):
    """How a captioner's weights move.

    Attributes:
        accumulation: The gradients of so many micro-batches make one update, at least 1.
    """

    accumulation: WholeFromOne = 1


@dataclass(frozen=True)
class CheckpointConfig(Section):
    """When the run can be taken up again.

    Attributes:
        every: This is the number of steps between checkpoints, at least 1.
        keep: So many of the newest checkpoints are kept, at least 1.
    """

    every: WholeFromOne = 100
    keep: WholeFromOne = 2


@dataclass(frozen=True)
class LoggingConfig(Section):
    """What is told.

    Attributes:
        every: This is the number of steps between rows of ``metrics.jsonl``, at least 1.
        trackers: These are trackers of accelerate that are told as well, such as ``tensorboard``, ``wandb`` or
            ``trackio``. By default there are none.
        project: This is the name under which trackers group runs.
    """

    every: WholeFromOne = 10
    trackers: Texts = field(default_factory=list)
    project: Text = "capreward"


@dataclass(frozen=True)
class RunConfig(Section):
    """A whole run that trains a captioner.

    Attributes:
        optimizer: This is the training paradigm by its name, such as ``dico``, with its options. By default it is
            ``xe``.
        seed: This is the seed of everything that is drawn by lot, at least 0.
        device: The run uses ``cpu`` or ``cuda``. With ``auto`` it uses a GPU if there is one.
        plugins: These are Python files with rewards of one's own. By default there are none.
        download: If this is true, named weights that are not on this computer are fetched. By default they are not.
        about: This says for people what the configuration is.
        departures: These say for people where the configuration differs from what was published, and why.
        captioner: This section says what is trained.
        data: This section says what the captioner learns from and what is held out.
        reward: This section says what captions are rewarded for.
        training: This section says how the weights move.
        evaluation: This section says how the captioner is judged on held-out items while it learns.
        diagnostics: This section says what watches whether the reward is gamed.
        checkpoint: This section says when the run can be taken up again.
        logging: This section says what the run tells while it learns.
    """

    optimizer: Options = field(default_factory=lambda: {"name": "xe"})
    seed: Seed = 0
    device: Text = "auto"
    plugins: Texts = field(default_factory=list)
    download: Flag = False
    about: Text = ""
    departures: Texts = field(default_factory=list)
    captioner: CaptionerConfig = field(default_factory=CaptionerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)

    @field_validator("optimizer")
    @classmethod
    def _is_named(cls, optimizer: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(optimizer.get("name"), str):
            raise InputError("optimizer.name is missing; give --optimizer xe, scst or dico")
        return optimizer

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are written to ``config.yaml``."""
        told = asdict(self)
        told["training"]["betas"] = list(self.training.betas)
        return told
