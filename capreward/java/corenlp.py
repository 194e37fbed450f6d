"""The files that SPICE needs: its own from pycocoevalcap, and two of Stanford CoreNLP that the user provides."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from capreward.errors import InputError
from capreward.java.originals import original_file

CORENLP_FILES = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
_ARCHIVE = "stanford-corenlp-full-2015-12-09.zip"
_VARIABLE = "CAPREWARD_CORENLP"


def spice_class_path(corenlp: str | os.PathLike[str] | None = None) -> list[Path]:
    """Return every jar that SPICE needs, in the order of its manifest.

    Args:
        corenlp: The folder that holds the two CoreNLP files; None takes the folder in the environment variable
            ``CAPREWARD_CORENLP``, or else ``spice/lib`` of pycocoevalcap. Nothing is downloaded or written.

    Returns:
        The absolute paths; the first is this package's replacement for the JavaScript engine that Java 15 dropped.

    Raises:
        InputError: If a file is missing; the message says which file, where it was looked for, and what to type.
    """
    spice = original_file("spice", "spice-1.0.jar")
    models = _corenlp_folder(corenlp, spice.parent / "lib")
    jars = [Path(__file__).absolute().parent / "spice_json" / "spice_json.jar", spice]
    for entry in _manifest_class_path(spice):
        name = entry.rsplit("/", 1)[-1]
        jars.append(models / name if name in CORENLP_FILES else original_file("spice", "lib", name))
    return jars


def _corenlp_folder(argument: str | os.PathLike[str] | None, default: Path) -> Path:
    variable = os.environ.get(_VARIABLE)
    if argument is not None:
        folder, chosen = Path(argument), "the argument corenlp="
    elif variable:
        folder, chosen = Path(variable), f"the environment variable {_VARIABLE}"
    else:
        folder, chosen = default, f"pycocoevalcap; {_VARIABLE} is not set"
    folder = folder.expanduser().absolute()
    missing = [name for name in CORENLP_FILES if not (folder / name).is_file()]
    if missing:
        absent = f"{missing[0]} is not" if len(missing) == 1 else "neither is"
        raise InputError(
            f"SPICE needs {' and '.join(CORENLP_FILES)}, and {absent} in {folder} ({chosen}). Both are in "
            f"{_ARCHIVE} (384 MB, https://nlp.stanford.edu/software/{_ARCHIVE}); fetch and unpack it, then "
            f"type `export {_VARIABLE}=/path/to/{_ARCHIVE.removesuffix('.zip')}`."
        )
    return folder


def _manifest_class_path(jar: Path) -> list[str]:
    with zipfile.ZipFile(jar) as archive:
        manifest = archive.read("META-INF/MANIFEST.MF").decode()
    # A manifest breaks lines after 72 bytes; the next line begins with a space.
    lines = manifest.replace("\r\n", "\n").replace("\n ", "").split("\n")
    entries = [line.partition(":")[2].split() for line in lines if line.startswith("Class-Path:")]
    return entries[0] if entries else []
