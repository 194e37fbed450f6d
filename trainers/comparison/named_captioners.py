"""Captioners by the name that a user gives: their place, their name in tables, and the run that they come from."""

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
        evaluation_file: The file of its stored evaluation; None if there is no place for one.
    """

    evaluation_file: Path | None = None

    def open(self, *, device: str = "cpu", download: bool = False) -> Captioner:
        """Open the captioner on its device, in evaluation mode.

        Raises:
            InputError: There is no captioner, or it is damaged.
        """
        from trainers.captioners.layouts.loading import open_captioner

        loading: dict[str, Any] = {"download": True} if download else {}
        return open_captioner(self.path, **loading).to(device)


def source_of(named: str, *, last: bool = False) -> NamedCaptioner:
    """Resolve a name: that of a run's folder, of a captioner's folder or checkpoint, or ``scenes``.

    Args:
        named: The name as it was typed.
        last: Whether to take the last captioner of a run instead of the best one.

    Raises:
        InputError: A run's configuration cannot be read, or the run has no such captioner.
    """
    folder = RunFolder(named)
    name = named.rstrip("/") or named
    if named != SCENES and not folder.path.exists():
        raise InputError(f"there is no captioner {named}; name a run, a captioner's folder or checkpoint, or scenes")
    if named == SCENES or not folder.path.is_dir():
        return NamedCaptioner(name, named)
    if folder.config.is_file() or folder.metrics.is_file():
        captioner, config = _best_or_last(folder, last), config_of(folder)
        return NamedCaptioner(name, str(captioner), folder, config, folder.path / "evaluation.json")
    home = RunFolder(folder.path.absolute().parent)  # RUN/best and RUN/last
    home_config = config_of(home) if home.config.is_file() and home.metrics.is_file() else None
    return NamedCaptioner(name, named, None, home_config)


def sources_of(named: Sequence[str], *, last: bool = False) -> list[NamedCaptioner]:
    """Resolve several names, and give the captioners the shortest names that distinguish them.

    Raises:
        InputError: A captioner is named twice, or a name is that of no captioner.
    """
    sources = [source_of(each, last=last) for each in named]
    names = [source.name for source in sources]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"{repeated} is named twice; name each run once")
    short_names = [Path(name).name for name in names]
    if len(set(short_names)) < len(short_names):
        return sources
    return [replace(source, name=name) for source, name in zip(sources, short_names, strict=True)]


def shipped_captioner() -> Path | None:
    """Return the folder of the scenes captioner that ships with capreward; None if it does not ship."""
    from importlib.resources import files

    from trainers.captioners.folder import CONFIG

    folder = Path(str(files("capreward.data.scenes"))) / "weights" / "captioner"
    return folder if (folder / CONFIG).is_file() else None


def config_of(folder: RunFolder) -> RunConfig | None:
    """Read the configuration of a run; None if the folder holds none.

    Raises:
        InputError: The configuration cannot be read.
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
    """Return the beam search of an evaluation.

    It is as asked for, else as the first run has it, else as the captioner's authors have it.

    If none of them names a number of beams, it is 5.

    Args:
        sources: All captioners that are compared; all are searched as the first run is, if there is one.
        captioner: One of them; it may have fewer places than the search takes.
        beams: The number of beams that is asked for.
        max_length: The greatest number of tokens that is asked for, the begin token included.
        constraints: Further settings of the decoding.

    Raises:
        InputError: A setting is wrong.
    """
    from trainers.decoding import Decoding
    from trainers.evaluation.search_settings import BEAMS, authors_search, search_of

    asked = {name: value for name, value in (("beams", beams), ("max_length", max_length)) if value is not None}
    asked |= constraints
    section = next((source.config.evaluation for source in sources if source.config is not None), None)
    if section is None:
        settings = Decoding.from_dict(
            {"method": "beam", "beams": BEAMS, "max_length": LONGEST, **authors_search(captioner), **asked}
        )
    else:
        settings = search_of(section, **asked)
    return (
        settings
        if max_length is not None
        else replace(settings, max_length=min(settings.max_length, captioner.longest))
    )


def by_authors(sources: Sequence[NamedCaptioner], captioner: Captioner) -> bool:
    """Return whether a captioner is searched as its authors do, for settings that are not asked for."""
    return bool(captioner.decoding) and all(source.config is None for source in sources)


def _best_or_last(folder: RunFolder, last: bool) -> Path:
    folders = [folder.last] if last else [folder.best, folder.last]
    captioner = next((path for path in folders if path.is_dir()), None)
    if captioner is None:
        names = " nor ".join(path.name + "/" for path in folders)
        raise InputError(
            f"{folder.path} has no captioner yet, neither {names}; let the run go on until it has, or give another"
            if not last
            else f"{folder.path} has no last captioner, for the run is not finished; run its command again, or leave "
            "--last out"
        )
    return captioner
