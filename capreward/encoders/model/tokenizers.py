"""The tokenizer of an encoder's text tower."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capreward.encoders.model.backend import import_open_clip
from capreward.errors import InputError

_HF_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "spiece.model")


def tokenizer_of(model_cfg: Mapping[str, Any], folder: Path | None, where: str, *, download: bool = False) -> Any:
    """Build the tokenizer of an architecture: OpenAI's byte-level BPE, or the one that its configuration names.

    Args:
        model_cfg: The architecture as open_clip writes it. The function reads ``context_length``, ``vocab_size``,
            ``hf_tokenizer_name``, ``tokenizer_mode`` and ``tokenizer_kwargs`` of its ``text_cfg``; the last one may
            hold a ``bpe_path`` that is relative to ``folder``.
        folder: The folder with the encoder's files, or None.
        where: The name of the encoder in messages.
        download: Whether to fetch a tokenizer from the hub if it is not on this computer.

    Returns:
        A ``SimpleTokenizer`` or ``HFTokenizer`` of open_clip: a function from N texts to int64 [N, L].

    Raises:
        InputError: The vocabulary is missing, damaged or larger than the text tower's, or transformers is missing.
    """
    text = model_cfg["text_cfg"]
    settings = dict(text.get("tokenizer_kwargs") or {})
    settings["context_length"] = int(text.get("context_length", 77))
    if text.get("hf_tokenizer_name"):
        return _huggingface_tokenizer(text, {**settings, "local_files_only": not download}, folder, where)
    tokenizer = _bpe_tokenizer(settings, folder, where)
    size = int(text.get("vocab_size", 49408))
    if tokenizer.vocab_size > size:
        raise InputError(
            f"{where}: its text tower knows {size:,} tokens and the vocabulary has {tokenizer.vocab_size:,}; put its "
            "own merges beside it and name them in open_clip_config.json (text_cfg.tokenizer_kwargs.bpe_path)"
        )
    return tokenizer


def _bpe_tokenizer(settings: dict[str, Any], folder: Path | None, where: str) -> Any:
    if "bpe_path" in settings:
        path = (folder or Path()) / str(settings["bpe_path"])
        if not path.is_file():
            raise InputError(f"{where}: there is no vocabulary {path}, which its configuration names")
        settings["bpe_path"] = str(path)
    try:
        return import_open_clip().SimpleTokenizer(**settings)
    except (OSError, EOFError, UnicodeDecodeError, TypeError) as error:
        path = settings.get("bpe_path", "of OpenAI")
        raise InputError(f"{where}: its vocabulary {path} cannot be read ({error})") from error


def _huggingface_tokenizer(text: Mapping[str, Any], settings: dict[str, Any], folder: Path | None, where: str) -> Any:
    name = str(text["hf_tokenizer_name"])
    if settings.get("trust_remote_code"):
        raise InputError(f"{where}: its tokenizer wants to run code of its own (trust_remote_code), which is refused")
    own = folder is not None and any((folder / file).is_file() for file in _HF_FILES)
    kind = import_open_clip().tokenizer.HFTokenizer
    try:
        return kind(str(folder) if own else name, tokenizer_mode=text.get("tokenizer_mode"), **settings)
    except ImportError as error:
        missing = error.name or "transformers"
        raise InputError(f"{where}: its tokenizer needs {missing}; type pip install {missing}") from error
    except Exception as error:  # transformers raises many kinds for a tokenizer it cannot find or read
        reason = " ".join(str(error).split())[:200]
        fetch = "" if own or not settings["local_files_only"] else "; add --download (download=True) to fetch it"
        raise InputError(f"{where}: its tokenizer {name} cannot be loaded ({reason}){fetch}") from error
