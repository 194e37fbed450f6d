"""The import of features that CLIP-Caption-Reward's scripts wrote, one file per picture, into a feature store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError

if TYPE_CHECKING:
    from capreward.encoders.feature_extraction import AddedFeatures

FEATURE = "feat"  # the name of the array in an .npz file


def import_features(
    folder: str | Path,
    path: str | Path,
    *,
    half: bool = False,
    part_size: int | None = None,
    progress: Callable[[str, float, float], None] | None = None,
) -> AddedFeatures:
    """Store grids ``ID.npz`` (key ``feat``, height x width x channels) or ``ID.npy`` as tokens, row by row.

    The store cannot say which weights made the features: captioners that were trained on stored features accept them
    by their shape, and nothing else does. A second run goes on where the first stopped.

    Args:
        folder: The folder of the files, which are all of one kind and shape.
        path: The folder of the store; it is made if it does not exist.
        half: Whether to store float16 instead of float32.
        part_size: The number of features per file of the store.
        progress: A function that is called as (what, done, total); None reports nothing.

    Raises:
        InputError: The folder has no such files, or a file holds something else.
    """
    import numpy as np
    import torch

    from capreward.encoders.feature_extraction import PART, PART_NUMBERS, AddedFeatures
    from capreward.encoders.store.header import StoreHeader
    from capreward.encoders.store.writer import StoreWriter

    files = _feature_files(Path(folder))
    shape = _read_tokens(files[0]).shape
    fields = {"model": f"published features ({Path(folder).resolve().name})", "tokens": "unknown"}
    writer = StoreWriter(path, StoreHeader("image", fields, shape, "float16" if half else "float32"))
    todo = writer.missing([file.stem for file in files])
    done = AddedFeatures(writer.path, present=len(files) - len(todo))
    size = part_size or max(1, min(PART, PART_NUMBERS // (shape[0] * shape[1])))
    for start in range(0, len(todo), size):
        part = [files[i] for i in todo[start : start + size]]
        arrays = [_read_tokens(file) for file in part]
        for file, array in zip(part, arrays, strict=True):
            if array.shape != shape:
                sizes = f"{list(array.shape)}, and {files[0]} {list(shape)}"
                raise InputError(f"{file} holds {sizes}; give grids of one size")
        writer.write([file.stem for file in part], torch.from_numpy(np.stack(arrays)))
        done.new += len(part)
        if progress is not None:
            progress("published features", start + len(part), len(todo))
    return done


def _feature_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; --published takes a folder of ID.npz or ID.npy")
    files = sorted(file for file in folder.iterdir() if file.suffix in (".npz", ".npy"))
    if not files:
        raise InputError(f"{folder} has no .npz and no .npy; --published takes a folder of features of pictures")
    if len({file.suffix for file in files}) > 1:
        raise InputError(f"{folder} has both .npz and .npy; give a folder of one kind")
    return files


def _read_tokens(file: Path) -> Any:
    """Return the tokens [S, D] of one file, float32; no code in it is run."""
    import zipfile

    import numpy as np

    try:
        if file.suffix == ".npy":
            array = np.load(file, allow_pickle=False)
        else:
            with np.load(file, allow_pickle=False) as archive:
                array = archive[FEATURE]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} holds no array {FEATURE} that can be read ({error})") from error
    if array.ndim not in (2, 3) or array.dtype.kind != "f" or not array.size:
        found = f"{array.dtype} {list(array.shape)}"
        raise InputError(f"{file} holds {found}; a grid of features is height x width x channels")
    return np.ascontiguousarray(array.reshape(-1, array.shape[-1]), dtype=np.float32)
