"""The section of a configuration about the captioner."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from capreward.errors import InputError
from capreward.option_checks import check_choice, check_range


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
