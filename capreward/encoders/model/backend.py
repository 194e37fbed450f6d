"""The import of open_clip."""

from __future__ import annotations

import functools
import importlib
import re
import sys
from typing import Any

from capreward.errors import InputError

_MISSING = re.compile(r"operator torchvision::(\w+) does not exist")
_OPERATORS = 100  # more than torchvision has


@functools.cache
def import_open_clip() -> Any:
    """Import open_clip, even if the compiled half of torchvision does not fit torch.

    A torch for the CPU with a torchvision for CUDA, as a plain ``pip install`` leaves it if torch came from
    another index, fails with "operator torchvision::nms does not exist". Nothing of open_clip's encoders calls
    torchvision's compiled operators, so they are declared by name and stay without code.

    Raises:
        InputError: open_clip cannot be imported for another reason, which the message names.
    """
    try:
        _declare_operators()
        return importlib.import_module("open_clip")
    except (ImportError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"open_clip cannot be imported ({reason}); type pip install --force-reinstall open_clip_torch torchvision"
        ) from error


@functools.cache
def _declare_operators() -> Any:
    """Declare the operators that torchvision's Python half registers and its compiled half lacks; None if none."""
    library: Any = None
    for _ in range(_OPERATORS):
        try:
            importlib.import_module("torchvision")
            return library
        except RuntimeError as error:
            missing = _MISSING.search(str(error))
            if missing is None:
                raise
            import torch

            if library is None:
                library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
            library.define(f"{missing[1]}(Tensor input) -> Tensor")
            for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
                del sys.modules[name]  # a module whose import failed half-way keeps what it had registered
    return library
