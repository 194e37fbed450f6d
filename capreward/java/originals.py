"""The places of the original Java programs inside the installed pycocoevalcap."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from capreward.errors import InputError


def original_file(*parts: str) -> Path:
    """Return the path of a file of the original programs inside the installed ``pycocoevalcap``.

    Args:
        parts: The path below the package's folder, such as ``"meteor", "meteor-1.5.jar"``.

    Raises:
        InputError: If the package or the file is missing.
    """
    spec = importlib.util.find_spec("pycocoevalcap")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder).absolute().joinpath(*parts)
        if path.exists():
            return path
    where = f"not in {', '.join(folders)}" if folders else "pycocoevalcap is not installed"
    raise InputError(
        f"the original program {'/'.join(parts)} is missing ({where}). "
        "Type `pip install --force-reinstall --no-deps pycocoevalcap`."
    )
