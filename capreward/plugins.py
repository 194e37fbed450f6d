"""The import of a user's Python files, which register rewards by name."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from capreward.errors import InputError


def load_plugins(paths: Sequence[Path]) -> None:
    """Import Python files so that their ``@reward`` functions are registered.

    Raises:
        InputError: There is no such file, or it fails while it runs.
    """
    for path in paths:
        if not path.is_file():
            raise InputError(f"--plugin {path}: there is no such file")
        name = f"capreward_plugin_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise InputError(f"--plugin {path} is no Python file; its name must end in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"--plugin {path} fails: {type(error).__name__}: {error}") from error
