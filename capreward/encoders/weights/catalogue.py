"""The catalogue of published weights: which evaluator uses them, who publishes them, and where they lie here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from capreward.errors import InputError

S = TypeVar("S")

VARIABLE = "CAPREWARD_WEIGHTS"
_OPENAI = "https://openaipublic.azureedge.net/clip/models"
_OPENAI_B32 = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
_DRIVE = "https://drive.google.com/file/d"


@dataclass(frozen=True)
class Entry:
    """One set of published weights.

    Attributes:
        evaluators: The names of the evaluators that use it, the family first.
        variant: The variant, ``B/32`` or ``L/14``.
        files: The names of its file, the authors' name first.
        layouts: The layouts that its file may have.
        embed_dim: The width of its features.
        patch: The side of an image patch in pixels.
        quick_gelu: Whether its activation is QuickGELU, which no file states.
        statistics: The name of its image mean and standard deviation, which no file states.
        published: The place where its authors publish it.
        url: The address of the file itself, if there is one.
        sha256: The SHA-256, if its authors state it.
        hub: The repository of the same weights on the Hugging Face hub, in open_clip's layout.
    """

    evaluators: tuple[str, ...]
    variant: str
    files: tuple[str, ...]
    layouts: tuple[str, ...]
    embed_dim: int
    patch: int
    published: str
    quick_gelu: bool = True
    statistics: str = "openai"
    url: str | None = None
    sha256: str | None = None
    hub: str | None = None

    @property
    def family(self) -> str:
        """The family: ``clips``, ``pacs``, ``pacspp`` or ``grammar``."""
        return self.evaluators[0]

    @property
    def title(self) -> str:
        """The title in messages: ``pacs (B/32)``."""
        return f"{self.family} ({self.variant})"


_PLAIN = ("openai", "open_clip", "hf")
CATALOGUE: tuple[Entry, ...] = (
    Entry(
        evaluators=("clips", "refclips"),
        variant="B/32",
        files=("ViT-B-32.pt",),
        layouts=_PLAIN,
        embed_dim=512,
        patch=32,
        published=f"{_OPENAI}/{_OPENAI_B32}/ViT-B-32.pt (open_clip: ViT-B-32:openai)",
        url=f"{_OPENAI}/{_OPENAI_B32}/ViT-B-32.pt",
        sha256=_OPENAI_B32,
        hub="timm/vit_base_patch32_clip_224.openai",
    ),
    Entry(
        evaluators=("pacs", "refpacs"),
        variant="B/32",
        files=("clip_ViT-B-32.pth",),
        layouts=_PLAIN,
        embed_dim=512,
        patch=32,
        published=f"github.com/aimagelab/pacscore: {_DRIVE}/1F-0Pma-vfJPAiDzeyl-iEdSXZIO1cDae/view",
    ),
    Entry(
        evaluators=("pacs", "refpacs"),
        variant="L/14",
        files=("openClip_ViT-L-14.pth",),
        layouts=_PLAIN,
        embed_dim=768,
        patch=14,
        published=f"github.com/aimagelab/pacscore: {_DRIVE}/1G1DAGQf5fW2U3u7K3Dn-eCC6koMDyvsU/view",
        quick_gelu=False,
        statistics="half",
    ),
    Entry(
        evaluators=("pacspp", "refpacspp"),
        variant="B/32",
        files=("PAC++_clip_ViT-B-32.pth",),
        layouts=("pac-s++",),
        embed_dim=512,
        patch=32,
        published="https://ailb-web.ing.unimore.it/publicfiles/pac++/PAC++_clip_ViT-B-32.pth, "
        f"mirror {_DRIVE}/1Q2vFvI2rur3Sh7hJaZ51vAyRrplJAaj8/view",
        url="https://ailb-web.ing.unimore.it/publicfiles/pac++/PAC++_clip_ViT-B-32.pth",
    ),
    Entry(
        evaluators=("pacspp", "refpacspp"),
        variant="L/14",
        files=("PAC++_clip_ViT-L-14.pth",),
        layouts=("pac-s++",),
        embed_dim=768,
        patch=14,
        published=f"github.com/aimagelab/pacscore: {_DRIVE}/1lMqQ1aeWR6Fgo_PKN36kvmevoSFX7Lk-/view",
    ),
    Entry(
        evaluators=("grammar", "clips-grammar"),
        variant="B/32",
        files=("clip_negative_text-last.ckpt", "clip_negative_text-epoch=12.ckpt"),
        layouts=("grammar",),
        embed_dim=512,
        patch=32,
        published="github.com/j-min/CLIP-Caption-Reward: its Google Drive folder, retrieval/save",
    ),
)


@dataclass(frozen=True)
class FoundWeights:
    """Weights that lie on this computer.

    Attributes:
        path: The file or folder, for ``load_clip``.
        quick_gelu: The activation to load them with; None if their folder states it.
        statistics: The image statistics to load them with; None if their folder states them.
        origin: The place that holds them: ``CAPREWARD_WEIGHTS``, ``capreward weights add``, ``open_clip's cache``.
    """

    path: Path
    quick_gelu: bool | None
    statistics: str | None
    origin: str


def entry_of(name: str, variant: str | None = None) -> Entry:
    """Return the entry of an evaluator, its first variant if none is named.

    Args:
        name: The name of the evaluator: ``clips``, ``refclips``, ``pacs``, ...
        variant: ``B/32`` or ``L/14``; ``ViT-B-32`` and similar spellings are understood.

    Raises:
        InputError: There is no such evaluator or variant; the message lists the existing ones.
    """
    entries = [entry for entry in CATALOGUE if name in entry.evaluators]
    if not entries:
        known = ", ".join(dict.fromkeys(n for entry in CATALOGUE for n in entry.evaluators))
        raise InputError(f"no weights are published for {name!r}; there are some for {known}")
    if variant is None:
        return entries[0]
    wanted = _normal_variant(variant)
    for entry in entries:
        if wanted == _normal_variant(entry.variant):
            return entry
    raise InputError(f"{name} has no variant {variant!r}; it has {' and '.join(e.variant for e in entries)}")


def _normal_variant(variant: str) -> str:
    short = variant.lower().replace("open_clip_", "").replace("vit", "")
    return "".join(c for c in short if c.isalnum())


def find_weights(name: str, variant: str | None = None) -> FoundWeights:
    """Return the weights of a named evaluator on this computer.

    The search runs through the folders of ``CAPREWARD_WEIGHTS`` (separated like ``PATH``), then what ``capreward
    weights add`` keeps, then open_clip's caches. Nothing is fetched.

    Raises:
        InputError: No weights are found; the message says what was looked for and where, where its authors publish it,
            and what to type.
    """
    entry = entry_of(name, variant)
    found = weights_of_entry(entry)
    if found is not None:
        return found
    looked = ", ".join(str(folder) for _, folder in _search_places())
    more = " and open_clip's cache" if entry.hub else ""
    get = f"type capreward weights get {entry.family}, or " if entry.url else ""
    raise InputError(
        f"{name} needs {entry.files[0]}, which is not in {looked}{more}; its authors publish it at {entry.published}; "
        f"{get}download it, then type capreward weights add {entry.files[0]}"
    )


def weights_of_entry(entry: Entry) -> FoundWeights | None:
    """Return the weights of an entry on this computer, or None; see :func:`find_weights`."""
    from capreward.encoders.checkpoints.folder import OPEN_CLIP_CONFIG, RECORD, read_json
    from capreward.encoders.weights.tags import find_tag

    stems = {Path(name).stem for name in entry.files}
    for origin, folder in _search_places():
        for name in entry.files:
            if (folder / name).is_file():
                return FoundWeights(folder / name, entry.quick_gelu, entry.statistics, origin)
        for config in sorted(folder.glob(f"*/{OPEN_CLIP_CONFIG}")):
            record = read_json(config.parent / RECORD) if (config.parent / RECORD).is_file() else {}
            source = record.get("source", {})
            if config.parent.name in stems or (isinstance(source, dict) and source.get("name") in entry.files):
                return FoundWeights(config.parent, None, None, origin)
    cached = find_tag({"hf_hub": f"{entry.hub}/", "url": entry.url}) if entry.hub else None
    return FoundWeights(cached, entry.quick_gelu, entry.statistics, "open_clip's cache") if cached else None


def _search_places() -> Iterator[tuple[str, Path]]:
    """Yield the name and the path of each place that may hold weights."""
    for part in os.environ.get(VARIABLE, "").split(os.pathsep):
        if part:
            yield VARIABLE, Path(part).expanduser()
    yield "capreward weights add", library_folder()


def library_folder() -> Path:
    """Return the folder where ``capreward weights add`` keeps files: ``weights`` in capreward's cache folder."""
    from capreward.atomic_files import cache_folder

    return cache_folder() / "weights"


def published_settings(settings: S, name: str, variant: str | None = None) -> S:
    """Set activation and statistics of a named evaluator's own checkpoint where the user leaves them open.

    A file that stands alone is taken for the variant of its name, else for the variant with its patch size. With any
    other patch size the settings stay open, so that a note says what is assumed. Folders, names of open_clip and names
    of the hub state their own.

    Args:
        settings: A dataclass with ``checkpoint``, ``quick_gelu`` and ``statistics``.
        name: The name of the evaluator.
        variant: The variant that the user named, or None.

    Raises:
        InputError: There is no such variant, or the file cannot be read.
    """
    given: Any = settings
    path = Path(str(given.checkpoint).removeprefix("local-dir:")).expanduser()
    if (given.quick_gelu is not None and given.statistics is not None) or not _stands_alone(path):
        return settings
    entry = entry_of(name, variant) if variant else _entry_of_file(path, name)
    if entry is None:
        return settings
    fixed: Mapping[str, Any] = {
        "quick_gelu": entry.quick_gelu if given.quick_gelu is None else given.quick_gelu,
        "statistics": entry.statistics if given.statistics is None else given.statistics,
    }
    changed: S = replace(given, **fixed)
    return changed


def _stands_alone(path: Path) -> bool:
    from capreward.encoders.checkpoints.folder import HF_CONFIG, OPEN_CLIP_CONFIG, WEIGHT_FILES

    beside = any((path.parent / name).is_file() for name in (OPEN_CLIP_CONFIG, HF_CONFIG))
    return path.is_file() and not (beside and path.name in WEIGHT_FILES)


def _entry_of_file(path: Path, name: str) -> Entry | None:
    entries = [entry for entry in CATALOGUE if name in entry.evaluators]
    named = [entry for entry in entries if path.name in entry.files]
    if named:
        return named[0]
    patch = patch_size(path)
    return next((entry for entry in entries if entry.patch == patch), None)


def patch_size(path: Path) -> int | None:
    """Return the patch size of the image transformer in a weights file or open_clip's folder; None without one.

    Raises:
        InputError: The file cannot be read.
    """
    from capreward.encoders.checkpoints.checkpoint import read_checkpoint
    from capreward.encoders.checkpoints.folder import OPEN_CLIP_CONFIG, read_json

    if path.is_dir():
        config = read_json(path / OPEN_CLIP_CONFIG) if (path / OPEN_CLIP_CONFIG).is_file() else {}
        patch = config.get("model_cfg", {}).get("vision_cfg", {}).get("patch_size")
        return int(patch) if patch else None
    names = ("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight")
    shapes = (tuple(t.shape) for n, t in read_checkpoint(path, drop_unknown=True).tensors.items() if n.endswith(names))
    return next((int(shape[-1]) for shape in shapes if len(shape) == 4), None)
