"""The section of a configuration about what is learned from and what is held out."""

from __future__ import annotations

from dataclasses import dataclass

from capreward.option_checks import check_range


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
