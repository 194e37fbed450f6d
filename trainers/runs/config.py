"""The configuration of a training run: sections of plain values, checked, saved with the run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from capreward.errors import InputError
from trainers.optimizers.base import check_choice, check_range

SCHEDULES = ("constant", "linear", "cosine", "noam")
PRECISIONS = ("fp32", "bf16", "fp16")
NORMALISATIONS = ("none", "batch", "running")
AUTO = "auto"


@dataclass(frozen=True)
class SourcesConfig:
    """What is learned from and what is held out.

    Attributes:
        train: captions and pictures; see :func:`trainers.data.open_dataset` for what it may name.
        images: pictures of ``train``, where they are not in it.
        split: of a Karpathy file.
        count: the first so many items; all by default.
        val: held-out captions and pictures; none: no evaluation.
        val_images: pictures of ``val``; those of ``train`` by default, where both need some.
        val_split: of a Karpathy file.
        val_count: the first so many items.
        id_column: of tables.
        caption_column: of tables; several columns are several captions of an image.
        image_column: of tables.
        allow_missing: leave out captions whose picture is not found, instead of refusing them.
        workers: processes that decode pictures; 0 decodes in the training process.
        broken_limit: samples that cannot be read before the run stops.
    """

    train: str = "scenes:train"
    images: str | None = None
    split: str | None = None
    count: int | None = None
    val: str | None = "scenes:val"
    val_images: str | None = None
    val_split: str | None = None
    val_count: int | None = 500
    id_column: str | None = None
    caption_column: tuple[str, ...] | None = None
    image_column: str | None = None
    allow_missing: bool = False
    workers: int = 0
    broken_limit: int = 100

    def check(self) -> None:
        """Refuse values out of range."""
        for name in ("count", "val_count"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), 1, whole=True)
        check_range("workers", self.workers, 0, whole=True)
        check_range("broken_limit", self.broken_limit, 0, whole=True)


@dataclass(frozen=True)
class DataConfig(SourcesConfig):
    """What a captioner learns from and what is held out.

    Attributes:
        reward_images: pictures (or stored features) for rewards and metrics, by key, where what the captioner looks at
            does not serve them: a folder, shards or a feature store.
    """

    reward_images: str | None = None


@dataclass(frozen=True)
class CaptionerConfig:
    """What is trained.

    Attributes:
        init: a captioner to start from: a folder, a run, a released checkpoint, ``scenes``; none: random weights.
        kind: of a new captioner: ``grid`` (DiCO's) or ``clip-reward`` (CLIP-Caption-Reward's transformer).
        tower: CLIP weights of the image side, ``patch`` for a small one that is trained along, or ``stored`` for
            feature stores.
        vocabulary: ``tower`` (that of the tower's CLIP), ``clip`` (OpenAI's), a gzipped file of merges, or ``learn``:
            merges learnt from the training captions. Of ``clip-reward`` the words of the training captions
            (``learn``), or a JSON file with ``ix_to_word``.
        merges: learnt at most.
        least: words that occur less often in the training captions become UNK, of ``clip-reward``.
        sizes: of a new captioner; see :class:`trainers.captioners.grid.GridSizes` and
            :class:`trainers.captioners.transformer.TransformerSizes`.
        side: of the pictures that a ``patch`` tower looks at, or a ResNet tower other than its own, in pixels.
        resize: ``shortest`` or ``squash``, of a ResNet tower, where it is not its own.
        cropping: of the pictures that a CLIP's tower looks at: ``torchvision`` or ``transformers`` (DiCO's); by default
            that of ``init``, else torchvision's.
    """

    init: str | None = None
    kind: str = "grid"
    tower: str = "scenes-clip"
    vocabulary: str = "tower"
    merges: int = 4000
    least: int = 6
    sizes: dict[str, Any] = field(default_factory=dict)
    side: int | None = None
    resize: str | None = None
    cropping: str | None = None

    def check(self) -> None:
        """Refuse sizes that no captioner can have."""
        from trainers.captioners.folder import sizes_of

        check_choice("kind", self.kind, ("grid", "clip-reward"))
        default = self.default_sizes()
        known = asdict(default)
        wrong = [name for name in self.sizes if name not in known]
        if wrong:
            raise InputError(f"sizes has no {wrong[0]!r}; it has {', '.join(known)}")
        for name, value in self.sizes.items():
            check_range(f"sizes.{name}", value, 0, whole=isinstance(known[name], int))
        sizes_of(default, self.sizes).check()
        check_range("merges", self.merges, 1, whole=True)
        check_range("least", self.least, 1, whole=True)
        if self.side is not None:
            check_range("side", self.side, 32, whole=True)
        check_choice("resize", self.resize or "shortest", ("shortest", "squash"))
        check_choice("cropping", self.cropping or "torchvision", ("torchvision", "transformers"))

    def default_sizes(self) -> Any:
        """Those of the kind."""
        if self.kind == "clip-reward":
            from trainers.captioners.transformer import TransformerSizes

            return TransformerSizes()
        from trainers.captioners.grid import GridSizes

        return GridSizes()


@dataclass(frozen=True)
class RewardConfig:
    """What captions are rewarded for.

    Attributes:
        expression: of evaluators; its terms are logged each for itself.
        monitors: comma-separated expressions that are logged beside it and not learned from.
        every: steps between the monitors' values.
        low: rewards below it count as it.
        high: rewards above it count as it.
        normalise: ``batch`` (less the mean, divided by the standard deviation of the step's), ``running`` (of all
            steps so far) or ``none``.
        unbaselined: comma-separated terms of the expression that are taken as they are, without a baseline, as
            CLIP-Caption-Reward's ``use_grammar_baseline: false`` has it: ``r = 2 (S(sampled) - S(greedy)) +
            g(sampled)`` of ``2*clips + grammar``. Where scst has the greedy baseline alone.
    """

    expression: str | None = None
    monitors: str | None = None
    every: int = 1
    low: float | None = None
    high: float | None = None
    normalise: str = "none"
    unbaselined: str | None = None

    def check(self) -> None:
        """Refuse values out of range."""
        check_range("every", self.every, 1, whole=True)
        check_choice("normalise", self.normalise, NORMALISATIONS)
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise InputError(f"low {self.low:g} must be below high {self.high:g}")
        if self.unbaselined and (self.low is not None or self.high is not None):
            raise InputError(
                "unbaselined terms cannot be told from others once a reward is cut; leave out low and high"
            )


@dataclass(frozen=True)
class DiagnosticsConfig:
    """What watches whether a reward is being gamed; nothing of it is learned from.

    Attributes:
        enabled: on by default, in every run that learns from a reward.
        judge: an evaluator that the reward is not made of; ``auto``: of scenes its held-out judge, elsewhere none.
        grammar: an evaluator of grammaticality; ``auto``: ``grammar``, where its weights are found.
        novelty: compare with the training captions.
        novelty_items: so many training items are counted for it, evenly spaced; all by default.
        every: steps between diagnoses of the candidates.
        images: of a step whose candidates are diagnosed, at most.
    """

    enabled: bool = True
    judge: str | None = AUTO
    grammar: str | None = AUTO
    novelty: bool = True
    novelty_items: int | None = None
    every: int = 10
    images: int = 16

    def check(self) -> None:
        """Refuse values out of range."""
        check_range("every", self.every, 1, whole=True)
        check_range("images", self.images, 1, whole=True)
        check_range("novelty_items", 1 if self.novelty_items is None else self.novelty_items, 1, whole=True)


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
class JudgingConfig:
    """When and how held-out items are looked at while a run learns.

    Attributes:
        every: steps between evaluations; one before the first step and one after the last come for free.
        best: the figure that chooses the best weights; of a captioner by default the first of ``metrics``, else the
            reward.
        patience: evaluations without a new best before the run stops; none: never.
        batch_size: images at a time.
    """

    every: int = 100
    best: str | None = None
    patience: int | None = None
    batch_size: int = 64

    def check(self) -> None:
        """Refuse values out of range."""
        for name in ("every", "batch_size"):
            check_range(name, getattr(self, name), 1, whole=True)
        check_range("patience", 1 if self.patience is None else self.patience, 1, whole=True)


@dataclass(frozen=True)
class EvaluationConfig(JudgingConfig):
    """How the captioner is judged on held-out items while it learns.

    Attributes:
        metrics: comma-separated expressions; by default ``cider`` and the reward.
        samples: captions shown and kept of each evaluation.
        beams: of the beam search; by default as a released captioner's authors have it, else 5.
        max_length: tokens of a caption at most, the begin token included; likewise, else 30.
        decoding: further settings of :class:`trainers.decoding.Decoding`, such as ``length_penalty``; likewise.
    """

    metrics: str | None = None
    samples: int = 20
    beams: int | None = None
    max_length: int | None = None
    decoding: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse values out of range."""
        super().check()
        for name, least in (("beams", 1), ("max_length", 2), ("samples", 0)):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), least, whole=True)


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
