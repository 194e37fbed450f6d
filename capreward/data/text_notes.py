"""Notes on captions that would spoil a score without an error: captions with tokens of a model, or without blanks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

# Models write such tokens, and decoders should take them out; the first pattern is quick and finds what could be one.
_MARKED = re.compile(r"[<\[][^<>\[\]\s]{1,30}[>\]]")
_UNMARKED = ("startseq", "endseq")
_TOKEN = re.compile(
    r"</?s>|<\|\w{2,30}\|>|<(?:start|end|pad|unk|bos|eos|sos|cls|sep|mask|image|im_start|im_end|start_of_turn|"
    r"end_of_turn|startseq|endseq|startoftext|endoftext|begin_of_text|end_of_text|\w+_id)>|"
    r"\[(?:PAD|CLS|SEP|UNK|MASK|BOS|EOS|INST|/INST|unused\d+)\]",
    re.IGNORECASE,
)
# Scripts that put no blanks between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan.
_UNSPACED = re.compile("[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_RUN = re.compile(r"\S+")
_LONG_RUN = 5  # letters of such a script without a blank; most words are shorter


def notes_on(captions: Sequence[str], what: str, source: str) -> tuple[str, ...]:
    """Return remarks on the captions of one file, one sentence each.

    Args:
        captions: The captions or references.
        what: What the texts are: ``"captions"`` or ``"references"``.
        source: The file, for messages.
    """
    joined = "\n".join(captions)
    notes = []
    if _tokens_in(joined):
        notes.append(_tokens_note(captions, what, source))
    if not joined.isascii() and _UNSPACED.search(joined):
        unspaced = sum(any(_is_unspaced_run(run) for run in _RUN.findall(caption)) for caption in captions)
        if unspaced > len(captions) / 2:
            notes.append(
                f"{source}: {unspaced:,} of {len(captions):,} {what} are written without blanks between words, so that "
                "each counts as one word or few; give --tokenizer characters to compare characters"
            )
    return tuple(notes)


def _tokens_in(text: str) -> list[str]:
    marked = _MARKED.findall(text) if "<" in text or "[" in text else []
    found = [token for token in marked if _TOKEN.fullmatch(token)]
    return found + [token for token in _UNMARKED if token in text]


def _is_unspaced_run(run: str) -> bool:
    return len(_UNSPACED.findall(run)) >= _LONG_RUN


def _tokens_note(captions: Sequence[str], what: str, source: str) -> str:
    found = [(caption, _tokens_in(caption)) for caption in captions]
    having = sum(bool(tokens) for _, tokens in found)
    common = Counter(token for _, tokens in found for token in tokens).most_common(3)
    named = ", ".join(token for token, _ in common)
    return (
        f"{source}: {having:,} of {len(captions):,} {what} hold tokens of a model ({named}), which count as words; "
        "take them out"
    )
