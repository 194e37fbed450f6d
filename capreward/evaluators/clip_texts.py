"""Features of an evaluator's texts; evaluators with the same encoder share them through the samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from capreward.samples import ITEMS, Samples

if TYPE_CHECKING:
    from capreward.encoders.encoder import Encoder, TextFeatures

PROMPT = "A photo depicts"


def prompt_of(prompt: str | None) -> str:
    """Return the prompt that an option means: empty for None and ``none``."""
    return "" if prompt in (None, "none") else str(prompt)


def prompted_features(
    samples: Samples,
    encoder: Encoder,
    what: str,
    prompt: str,
    texts: Callable[[], list[str]],
    progress: Callable[[str, float, float], None] | None,
) -> TextFeatures:
    """Return features of prompted texts, from one pass of the text tower for all evaluators that need the same.

    Args:
        samples: The samples, which keep the features.
        encoder: The encoder that makes the features.
        what: The kind of texts, ``captions`` or ``references``.
        prompt: The text that is put before each text with one blank; empty for none.
        texts: A function that returns the texts without the prompt.
        progress: A function that is called as (what, done, total); None reports nothing.
    """
    lead = prompt if not prompt or prompt.endswith(" ") else f"{prompt} "
    whose = ITEMS if what == "references" else "of the captions"
    return samples.memo(
        (whose, "clip-texts", what, lead),
        lambda: encoder.text_features([lead + text for text in texts()], progress=progress),
        given=encoder,
    )


def cut_note(found: TextFeatures, what: str, encoder: Encoder) -> list[str]:
    """Return a line on the texts that were longer than the context; none if all fit."""
    cut = int(found.cut.sum())
    limit = f"{encoder.spec.name}'s {encoder.context_length} tokens"
    return [f"{cut:,} of {len(found.cut):,} {what} cut at {limit}"] if cut else []
