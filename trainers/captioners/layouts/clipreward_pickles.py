"""The pickles of vocabulary and options inside CLIP-Caption-Reward's checkpoints, read without running their code."""

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
    """A stand-in for the ``argparse.Namespace`` of the options, which stores its state as a table."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _SettingsReader(RestrictedUnpickler):
    """The restricted unpickler with one more class: that of parsed options."""

    def find_class(self, module: str, name: str) -> Any:
        """Find a class as the restricted unpickler does, with the stand-in for ``argparse.Namespace``."""
        return _Settings if (module, name) == ("argparse", "Namespace") else super().find_class(module, name)


def vocabulary_inside(tensors: Mapping[str, Tensor], where: str) -> WordVocabulary:
    """Read the pickle of ``ix_to_word`` inside a checkpoint.

    Raises:
        InputError: There is no such pickle, it names code or other classes, or it is no table of words.
    """
    if VOCABULARY not in tensors:
        raise InputError(f"{where} has no vocabulary inside; name its cocotalk.json with --vocabulary")
    table, reason, _ = _read(tensors[VOCABULARY], f"the vocabulary inside {where}", RestrictedUnpickler)
    if not isinstance(table, dict) or not table:
        raise InputError(f"the vocabulary inside {where} is no table of words{reason}; name its cocotalk.json")
    return WordVocabulary.of_index(table, where)


def options_inside(tensors: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    """Read the options of a checkpoint's training, by name; the table is empty if there are none that can be read.

    Raises:
        InputError: The pickle names code.
    """
    if OPTIONS not in tensors:
        return {}
    content, _, unknown = _read(tensors[OPTIONS], f"the options inside {where}", _SettingsReader, strict=False)
    table = content.state if isinstance(content, _Settings) else content
    return {str(name): value for name, value in table.items()} if isinstance(table, dict) and not unknown else {}


def _read(
    data: Tensor, what: str, kind: type[RestrictedUnpickler], *, strict: bool = True
) -> tuple[Any, str, list[str]]:
    """Return the content of a pickle, the reason if it could not be read, and the unknown classes that it names.

    Args:
        data: The bytes of the pickle.
        what: The name of the pickle in messages.
        kind: The unpickler class.
        strict: Whether unknown classes are refused too, and not only code.
    """
    reader = kind(io.BytesIO(bytes(data.numpy())), _no_storage)
    reason = ""
    try:
        content = reader.load()
    except Exception as error:  # bytes of a stranger: whatever the pickle machine stumbles over is one sentence
        content, reason = None, f" ({type(error).__name__})"
    if reader.code or (strict and reader.unknown):
        names = shorten(list(dict.fromkeys([*reader.code, *reader.unknown])))
        raise InputError(f"{what} is a pickle that names {names}; nothing was run, and the file is not to be trusted")
    return content, reason, reader.unknown


def _no_storage(pid: Any) -> NoReturn:
    raise ValueError(f"a tensor {pid!r} among words")
