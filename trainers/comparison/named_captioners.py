"""Captioners as a user names them: where each one lies, what it is called, and the run that it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError
from trainers.runs.folder import RunFolder
from trainers.runs.named_run import NamedRun

if TYPE_CHECKING:
    from trainers.captioners.base import Captioner
    from trainers.decoding import Decoding
    from trainers.runs.config import RunConfig

SCENES = "scenes"  # the captioner that ships with capreward
LONGEST = 50  # tokens of a caption at most, where no run says it and the captioner could say more


@dataclass(frozen=True)
class NamedCaptioner(NamedRun):
    """A captioner as it was named, ready to be opened.

    Attributes:
        kept_at: where its evaluation is kept, if anywhere.
    """

    kept_at: Path | None = None

    def open(self, *, device: str = "cpu", download: bool = False) -> Captioner:
        """The captioner on its device, in evaluation mode.

        Raises:
            InputError: there is none, or it is damaged.
        """
        from trainers.captioners.layouts.loading import open_captioner

        loading: dict[str, Any] = {"download": True} if download else {}
        return open_captioner(self.path, **loading).to(device)


def source_of(named: str, *, last: bool = False) -> NamedCaptioner:
    """What a user's name means: a run's folder, a captioner's folder or checkpoint, or ``scenes``.

    Args:
        named: as it was typed.
        last: of a run, take the last captioner instead of the best.

    Raises:
        InputError: a run whose configuration cannot be read, or that has no such captioner.
    """
    folder = RunFolder(named)
    name = named.rstrip("/") or named
    if named != SCENES and not folder.path.exists():
        raise InputError(f"there is no captioner {named}; name a run, a captioner's folder or checkpoint, or scenes")
    if named == SCENES or not folder.path.is_dir():
        return NamedCaptioner(name, named)
    if folder.config.is_file() or folder.metrics.is_file():
        found, config = _captioner_of(folder, last), config_of(folder)
        return NamedCaptioner(name, str(found), folder, config, folder.path / "evaluation.json")
    home = RunFolder(folder.path.absolute().parent)  # RUN/best and RUN/last
    known = config_of(home) if home.config.is_file() and home.metrics.is_file() else None
    return NamedCaptioner(name, named, None, known)


def sources_of(named: Sequence[str], *, last: bool = False) -> list[NamedCaptioner]:
    """Several of them, under the shortest names that tell them apart.

    Raises:
        InputError: one is named twice, or is none.
    """
    found = [source_of(each, last=last) for each in named]
    names = [source.name for source in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{twice} is named twice; name each run once")
    short = [Path(name).name for name in names]
    if len(set(short)) < len(short):
        return found
    return [replace(source, name=name) for source, name in zip(found, short, strict=True)]


def shipped_captioner() -> Path | None:
    """The folder of the captioner of scenes that ships with capreward; None where it does not."""
    from importlib.resources import files

    from trainers.captioners.folder import CONFIG

    folder = Path(str(files("capreward.data.scenes"))) / "weights" / "captioner"
    return folder if (folder / CONFIG).is_file() else None


def config_of(folder: RunFolder) -> RunConfig | None:
    """The configuration of a run; None where the folder holds none.

    Raises:
        InputError: it cannot be read.
    """
    from trainers.runs.config_files import build, read_yaml

    return build(read_yaml(folder.config)) if folder.config.is_file() else None


def decoding_for(
    sources: Sequence[NamedCaptioner],
    captioner: Captioner,
    *,
    beams: int | None = None,
    max_length: int | None = None,
    **constraints: Any,
) -> Decoding:
    """The beam search of an evaluation: as asked for, else as the first run had it, else as the captioner's authors do.

    Where nobody says, 5 beams.

    Args:
        sources: of all captioners that are compared, so that all are searched as the first run is, if there is one.
        captioner: one of them, which may have fewer places.
        beams: as asked for.
        max_length: as asked for, tokens of a caption with the begin token.
        constraints: further settings.

    Raises:
        InputError: settings that cannot be.
    """
    from trainers.decoding import Decoding
    from trainers.evaluation.search_settings import BEAMS, authors_search, search_of

    asked = {name: value for name, value in (("beams", beams), ("max_length", max_length)) if value is not None}
    asked |= constraints
    known = next((source.config.evaluation for source in sources if source.config is not None), None)
    if known is None:
        found = Decoding.from_dict(
            {"method": "beam", "beams": BEAMS, "max_length": LONGEST, **authors_search(captioner), **asked}
        )
    else:
        found = search_of(known, **asked)
    return found if max_length is not None else replace(found, max_length=min(found.max_length, captioner.longest))


def by_authors(sources: Sequence[NamedCaptioner], captioner: Captioner) -> bool:
    """Whether a captioner is searched as its authors do, where nothing else is asked for."""
    return bool(captioner.decoding) and all(source.config is None for source in sources)


def _captioner_of(folder: RunFolder, last: bool) -> Path:
    wanted = [folder.last] if last else [folder.best, folder.last]
    found = next((path for path in wanted if path.is_dir()), None)
    if found is None:
        names = " nor ".join(path.name + "/" for path in wanted)
        raise InputError(
            f"{folder.path} has no captioner yet, neither {names}; let the run go on until it has, or give another"
            if not last
            else f"{folder.path} has no last captioner, for the run is not finished; run its command again, or leave "
            "--last out"
        )
    return found
