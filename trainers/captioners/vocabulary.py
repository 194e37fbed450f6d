"""The vocabularies of captioners: they turn captions into token ids and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from capreward.errors import InputError
from capreward.text.merges import write_merges

if TYPE_CHECKING:
    from torch import Tensor

BPE_FILE = "bpe.txt.gz"
OPENAI_SIZE = 49408  # tokens of the merges that open_clip brings
_BEFORE_MARKS = re.compile(r" (?=[.,?!]|n't|'(?:m|s|ve|re)\b)")


class Vocabulary(Protocol):
    """The tokens that a captioner writes with.

    Attributes:
        kind: The name of this kind of vocabulary in configurations.
        size: The number V of tokens.
        bos: The token that begins every caption.
        eos: The token that ends a caption.
        pad: The token that fills the rest of a row. It may be ``eos``; in word vocabularies all three are 0.
    """

    kind: str
    size: int
    bos: int
    eos: int
    pad: int

    def encode(self, caption: str) -> list[int]:
        """Return the ids of a caption, without begin and end."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the caption of ids that are neither begin, end nor padding."""
        ...

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the files of the vocabulary and return its part of the configuration."""
        ...


class ClipVocabulary:
    """CLIP's byte-pair encoding with one padding token after its last token (DiCO: 49,408 + 1).

    Args:
        merges: A file of gzipped merges; OpenAI's by default.
        tokenizer: open_clip's ``SimpleTokenizer`` in place of the merges.

    Raises:
        InputError: The merges cannot be read.
    """

    kind = "clip"

    def __init__(self, merges: str | Path | None = None, *, tokenizer: Any = None) -> None:
        self._bpe = tokenizer or _tokenizer(merges)
        self.bos = int(self._bpe.sot_token_id)
        self.eos = int(self._bpe.eot_token_id)
        self.pad = int(self._bpe.vocab_size)
        self.size = self.pad + 1

    def encode(self, caption: str) -> list[int]:
        """Return the ids of a caption in lower case, without begin and end."""
        return [int(i) for i in self._bpe.encode(caption)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the caption without blanks before ``. , ? !`` and English clitics, as CLIP's own tokenizer does."""
        words = [int(i) for i in ids if i not in (self.bos, self.eos, self.pad)]
        return _BEFORE_MARKS.sub("", str(self._bpe.decode(words)).strip())

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the merges, unless they are OpenAI's."""
        if self._bpe.vocab_size == OPENAI_SIZE:
            return {"kind": self.kind}
        write_merges(folder / BPE_FILE, list(self._bpe.bpe_ranks))
        return {"kind": self.kind, "merges": BPE_FILE}


def _tokenizer(merges: str | Path | None) -> Any:
    from capreward.encoders.model.backend import import_open_clip

    path = {} if merges is None else {"bpe_path": str(merges)}
    try:
        return import_open_clip().SimpleTokenizer(**path)
    except (OSError, EOFError, UnicodeDecodeError, IndexError) as error:
        raise InputError(f"the vocabulary {merges} cannot be read ({error})") from error


def vocabulary_of(config: dict[str, Any], folder: Path) -> Vocabulary:
    """Build the vocabulary that a saved captioner names.

    Raises:
        InputError: The kind is unknown, or a file is missing.
    """
    if config.get("kind") == "clip":
        merges = config.get("merges")
        return ClipVocabulary(None if merges is None else folder / str(merges))
    if config.get("kind") == "words":
        from trainers.captioners.word_vocabulary import read_words

        return read_words(folder / Path(str(config.get("file"))).name)
    raise InputError(f"{folder} names the vocabulary {config.get('kind')!r}; known are clip and words")


def token_rows(vocabulary: Vocabulary, captions: Sequence[str], longest: int) -> Tensor:
    """Return captions as rows of begin token, words, end token and padding.

    Args:
        vocabulary: The vocabulary of the captioner.
        captions: The N captions.
        longest: The greatest row length; a longer caption loses its last words and its end token.

    Returns:
        The rows, int64 [N, L], where L is the length of the longest row.
    """
    import torch

    rows = [[vocabulary.bos, *vocabulary.encode(caption), vocabulary.eos][:longest] for caption in captions]
    width = max((len(row) for row in rows), default=1)
    table = torch.full((len(rows), width), vocabulary.pad, dtype=torch.long)
    for i, row in enumerate(rows):
        table[i, : len(row)] = torch.tensor(row)
    return table


def target_mask(vocabulary: Vocabulary, tokens: Tensor) -> Tensor:
    """Return which targets count.

    These are all targets up to the first end token, which counts too, except padding among them.

    Args:
        vocabulary: The vocabulary of the captioner.
        tokens: Token rows int64 [..., L], begin token first.

    Returns:
        A bool tensor [..., L - 1] that is True where ``tokens[..., 1:]`` is scored (dico.md 1.2 step 6; clipreward.md 5
        step 4).
    """
    targets = tokens[..., 1:]
    ends = targets == vocabulary.eos
    counted = ends.long().cumsum(-1) - ends.long() == 0
    if vocabulary.pad != vocabulary.eos:
        counted &= targets != vocabulary.pad
    return counted
