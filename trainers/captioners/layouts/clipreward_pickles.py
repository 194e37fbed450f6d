"""The pickles inside CLIP-Caption-Reward's checkpoints, vocabulary and options, read without running any of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from capreward.encoders.checkpoints.unpickler import Opaque, RestrictedUnpickler
from capreward.errors import InputError, shorten
from trainers.captioners.word_vocabulary import WordVocabulary

if TYPE_CHECKING:
    from torch import Tensor

VOCABULARY = "_vocab"
OPTIONS = "_opt"


class _Settings(Opaque):
    """Stands in for the ``argparse.Namespace`` of the options; keeps what it is told as a table."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _SettingsReader(RestrictedUnpickler):
    """Knows one more class: that of parsed options."""

    def find_class(self, module: str, name: str) -> Any:
        """As the restricted unpickler does, with the stand-in for ``argparse.Namespace``."""
        return _Settings if (module, name) == ("argparse", "Namespace") else super().find_class(module, name)


def vocabulary_inside(tensors: Mapping[str, Tensor], where: str) -> WordVocabulary:
    """The pickle of ``ix_to_word`` inside a checkpoint.

    Raises:
        InputError: it has none, one that names code or other classes, or one that is no table of words.
    """
    if VOCABULARY not in tensors:
        raise InputError(f"{where} has no vocabulary inside; name its cocotalk.json with --vocabulary")
    found, reason, _ = _read(tensors[VOCABULARY], f"the vocabulary inside {where}", RestrictedUnpickler)
    if not isinstance(found, dict) or not found:
        raise InputError(f"the vocabulary inside {where} is no table of words{reason}; name its cocotalk.json")
    return WordVocabulary.of_index(found, where)


def options_inside(tensors: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    """The options a checkpoint was trained with, by name; empty where it has none that can be read as such.

    Raises:
        InputError: a pickle that names code.
    """
    if OPTIONS not in tensors:
        return {}
    found, _, unknown = _read(tensors[OPTIONS], f"the options inside {where}", _SettingsReader, strict=False)
    table = found.state if isinstance(found, _Settings) else found
    return {str(name): value for name, value in table.items()} if isinstance(table, dict) and not unknown else {}


def _read(
    data: Tensor, what: str, kind: type[RestrictedUnpickler], *, strict: bool = True
) -> tuple[Any, str, list[str]]:
    """What a pickle holds, why it could not be read if so, and the unknown classes it names.

    Args:
        data: its bytes.
        what: it is, for messages.
        kind: how to read it.
        strict: refuse unknown classes too, not code alone.
    """
    reader = kind(io.BytesIO(bytes(data.numpy())), _no_storage)
    reason = ""
    try:
        found = reader.load()
    except Exception as error:  # bytes of a stranger: whatever the pickle machine stumbles over is one sentence
        found, reason = None, f" ({type(error).__name__})"
    if reader.code or (strict and reader.unknown):
        names = shorten(list(dict.fromkeys([*reader.code, *reader.unknown])))
        raise InputError(f"{what} is a pickle that names {names}; nothing was run, and the file is not to be trusted")
    return found, reason, reader.unknown


def _no_storage(pid: Any) -> NoReturn:
    raise ValueError(f"a tensor {pid!r} among words")
