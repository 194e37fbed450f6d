"""The section of a configuration about the captioner."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, ValidatorFunctionWrapHandler, field_validator, model_validator

from capreward.errors import InputError
from capreward.option_checks import check_range
from capreward.option_types import STRICT, TEXT, WHOLE, Options, Section, Text, WholeFromOne


@dataclass(frozen=True)
class CaptionerConfig(Section):
    """What is trained.

    Attributes:
        init: This names a captioner to start from: a folder, a run, a released checkpoint or ``scenes``. By default a
            new captioner with random weights is trained.
        kind: A new captioner is ``grid``, as DiCO has it, or ``clip-reward``, the transformer of CLIP-Caption-Reward.
        tower: This names the CLIP weights of the image side of a new captioner. With ``patch`` a small tower is trained
            along, and with ``stored`` the images come from feature stores.
        vocabulary: With ``tower`` a new captioner has the vocabulary of its tower's CLIP, with ``clip`` that of OpenAI,
            with a gzipped file of merges that of the file, and with ``learn`` merges are learnt from the training
            captions. For the kind ``clip-reward`` it is ``learn``, the words of the training captions, or a JSON file
            with ``ix_to_word``.
        merges: At most so many merges are learnt, at least 1.
        least: Words that occur less often than this in the training captions become UNK, for the kind ``clip-reward``;
            this is at least 1.
        sizes: These are the sizes of a new captioner, such as ``width`` and ``heads``. By default they are the
            published sizes of its kind.
        side: This is the side in pixels, at least 32, of the pictures that a ``patch`` tower looks at, or a ResNet
            tower that shall have another than its own. By default a tower has its own side, and ``patch`` has 112.
        resize: A ResNet tower sees pictures resized by their ``shortest`` side or by ``squash`` to a square. By default
            they are resized as the tower's own are.
        cropping: The pictures that a CLIP's tower looks at are cropped as ``torchvision`` or as ``transformers`` does,
            the latter for DiCO. By default it is the cropping of ``init``, else that of torchvision.
    """

    init: Text | None = None
    kind: Annotated[Literal["grid", "clip-reward"], TEXT] = "grid"
    tower: Text = "scenes-clip"
    vocabulary: Text = "tower"
    merges: WholeFromOne = 4000
    least: WholeFromOne = 6
    sizes: Options = field(default_factory=dict)
    side: Annotated[int, STRICT, Field(ge=32), WHOLE] | None = None
    resize: Annotated[Literal["shortest", "squash"], TEXT] | None = None
    cropping: Annotated[Literal["torchvision", "transformers"], TEXT] | None = None

    @field_validator("resize", "cropping", mode="wrap")
    @classmethod
    def _empty(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        return value if value == "" else check(value)  # an empty text is no choice, as it was in 0.1.0

    @model_validator(mode="after")
    def check(self) -> CaptionerConfig:
        """Refuse sizes that no captioner can have."""
        from trainers.captioners.folder import sizes_of

        default = self.default_sizes()
        known = asdict(default)
        wrong = [name for name in self.sizes if name not in known]
        if wrong:
            raise InputError(f"sizes has no {wrong[0]!r}; it has {', '.join(known)}")
        for name, value in self.sizes.items():
            check_range(f"sizes.{name}", value, 0, whole=isinstance(known[name], int))
        sizes_of(default, self.sizes).check()
        return self

    def default_sizes(self) -> Any:
        """Those of the kind."""
        if self.kind == "clip-reward":
            from trainers.captioners.transformer import TransformerSizes

            return TransformerSizes()
        from trainers.captioners.grid import GridSizes

        return GridSizes()
