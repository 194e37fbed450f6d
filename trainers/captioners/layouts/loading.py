"""The opening of captioners in every known layout, from the name that a user gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.atomic_files import new_folder_beside
from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    from trainers.captioners.base import Captioner

SCENES = "scenes"
_ENDINGS = (".ckpt", ".bin", ".safetensors", ".pt", ".pth")


def open_captioner(
    source: str | Path,
    *,
    tower: str | None = None,
    vocabulary: str | Path | None = None,
    longest: int | None = None,
    cropping: str | None = None,
    **loading: Any,
) -> Captioner:
    """Open a captioner, in evaluation mode; no code in a file is run.

    Args:
        source: A folder that ``save_pretrained`` wrote, a run's folder (its best captioner, else its last one), a DiCO
            checkpoint (folder or weights file), a CLIP-Caption-Reward checkpoint (``.ckpt``), or ``scenes``, the
            captioner that ships with capreward.
        tower: The frozen tower's weights, if they are not those that the captioner names.
        vocabulary: A JSON file with ``ix_to_word``, for CLIP-Caption-Reward's checkpoints.
        longest: The greatest number of tokens of a caption, the begin token included; for checkpoints of DiCO and
            CLIP-Caption-Reward.
        cropping: How pictures are cropped, ``torchvision`` or ``transformers``. DiCO's checkpoints take either; all
            other captioners take only the cropping of their training.
        loading: Options for loading the tower, such as ``precision``, ``device`` and ``download``, as ``load_clip``
            takes them.

    Raises:
        InputError: There is no captioner, it is damaged, or its tower is not found.
    """
    from trainers.captioners import folder
    from trainers.captioners.base import Captioner
    from trainers.captioners.layouts.dico_captioner import open_dico
    from trainers.captioners.layouts.dico_tensors import is_dico, read_dico

    path = _shipped_folder() if str(source) == SCENES else Path(source).expanduser()
    if not path.exists():
        raise InputError(f"there is no captioner {source}; name its folder or checkpoint, a run, or scenes")
    if path.is_file() and path.name in (folder.WEIGHTS, folder.CONFIG):
        path = path.parent
    if path.is_dir() and folder.holds_captioner(path):
        _refuse_options(vocabulary=vocabulary, longest=longest, path=path)
        captioner = Captioner.from_pretrained(path, **({} if tower is None else {"source": tower}), **loading)
        return _check_cropping(captioner, cropping, path)
    path = _checkpoint(path)
    if is_dico(path):
        _refuse_options(vocabulary=vocabulary, path=path)
        return open_dico(read_dico(path), tower=tower, longest=longest, cropping=cropping, **loading)
    return _open_without_configuration(
        path, tower=tower, vocabulary=vocabulary, longest=longest, cropping=cropping, **loading
    )


def holds_captioner(source: str | Path) -> bool:
    """Return whether a name is that of a captioner in any layout, and not of a CLIP or of a missing file.

    Raises:
        InputError: A file cannot be read.
    """
    from capreward.encoders.checkpoints.checkpoint import read_checkpoint
    from trainers.captioners import folder
    from trainers.captioners.layouts.clipreward_captioner import ANCHOR
    from trainers.captioners.layouts.dico_tensors import ANCHOR as DICO
    from trainers.captioners.layouts.dico_tensors import is_dico

    path = Path(source).expanduser()
    if str(source) == SCENES or not path.exists():
        return str(source) == SCENES
    if path.is_dir():
        return folder.holds_captioner(path) or is_dico(path)
    if path.name in (folder.WEIGHTS, folder.CONFIG) or is_dico(path):
        return True
    if path.suffix not in _ENDINGS:
        return False
    return not {ANCHOR, DICO}.isdisjoint(read_checkpoint(path, drop_unknown=True).tensors)


def convert_captioner(source: str | Path, out: str | Path, **options: Any) -> Captioner:
    """Write the captioner that ``source`` names in capreward's own format; the folder appears complete or not at all.

    Args:
        source: The captioner, as ``open_captioner`` takes it.
        out: The folder to make; it must not exist, or be empty.
        options: Options of ``open_captioner``.

    Returns:
        The captioner.

    Raises:
        InputError: There is no captioner, or the folder cannot be written.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists{' and is not empty' if out.is_dir() else ''}; name a new folder")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.absolute().parent}")
    captioner = open_captioner(source, **options)
    with new_folder_beside(out) as beside:
        captioner.save_pretrained(beside)
    return captioner


def _shipped_folder() -> Path:
    import capreward

    folder = Path(capreward.__file__).parent / "data" / "scenes" / "weights" / "captioner"
    if not folder.is_dir():
        raise InputError("this capreward ships no captioner of scenes; train one, or name a captioner's folder")
    return folder


def _checkpoint(path: Path) -> Path:
    """Return the only checkpoint in a folder without a configuration; other paths are returned as they are."""
    if not path.is_dir() or (path / "config.json").is_file():
        return path
    files = sorted(p for p in path.iterdir() if p.suffix in _ENDINGS and p.is_file() and p.stem != "training_args")
    if len(files) != 1:
        names = shorten([p.name for p in files]) or "none"
        raise InputError(
            f"{path} holds no captioner that says what it is; name one of its checkpoints (found: {names})"
        )
    return files[0]


def _open_without_configuration(path: Path, **options: Any) -> Captioner:
    """Open CLIP-Caption-Reward's checkpoint, or a DiCO checkpoint that has no configuration."""
    from capreward.encoders.checkpoints.checkpoint import read_checkpoint
    from trainers.captioners.layouts.clipreward_captioner import ANCHOR, open_clipreward
    from trainers.captioners.layouts.dico_captioner import open_dico
    from trainers.captioners.layouts.dico_tensors import ANCHOR as DICO
    from trainers.captioners.layouts.dico_tensors import read_dico

    if path.is_dir():
        raise InputError(f"{path} holds another model, no captioner: its config.json is not of DiCO's kind")
    tensors = read_checkpoint(path, drop_unknown=True).tensors
    if ANCHOR in tensors:
        cropping = options.pop("cropping")
        return _check_cropping(open_clipreward(tensors, path, **options), cropping, path)
    if DICO in tensors:
        _refuse_options(vocabulary=options.pop("vocabulary"), path=path)
        return open_dico(read_dico(path), **options)
    raise InputError(
        f"{path} is no captioner: none of its {len(tensors):,} tensors is {DICO} (DiCO) or {ANCHOR} "
        f"(CLIP-Caption-Reward); found {shorten(list(tensors))}"
    )


def _check_cropping(captioner: Captioner, cropping: str | None, path: Path) -> Captioner:
    """Return the captioner, if its pictures are cropped in this way or if it takes no pictures.

    Raises:
        InputError: The captioner was trained on pictures that were cropped in the other way.
    """
    own = captioner.preprocessing
    if cropping is not None and own is not None and own.cropping != cropping:
        raise InputError(
            f"{path} was trained on pictures cut as {own.cropping} does, not {cropping}; leave captioner.cropping out"
        )
    return captioner


def _refuse_options(path: Path, **options: Any) -> None:
    """Refuse options that this kind of captioner does not have."""
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{path} has a {name} of its own; leave --{name} out")
