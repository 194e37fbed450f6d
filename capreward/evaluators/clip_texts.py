"""Features of an evaluator's texts, shared by the evaluators of the same samples that use the same encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from capreward.samples import ITEMS, Samples

if TYPE_CHECKING:
    from capreward.encoders.encoder import Encoder, TextFeatures

PROMPT = "A photo depicts"


def prompt_of(prompt: str | None) -> str:
    """The prompt that an option means: empty for None and ``none``."""
    return "" if prompt in (None, "none") else str(prompt)


def prompted_features(
    samples: Samples,
    encoder: Encoder,
    what: str,
    prompt: str,
    texts: Callable[[], list[str]],
    progress: Callable[[str, float, float], None] | None,
) -> TextFeatures:
    """Features of prompted texts: one pass of the text tower for all evaluators that want the same ones.

    Args:
        samples: that remember them.
        encoder: that makes them.
        what: ``captions`` or ``references``.
        prompt: put before each text with one blank, empty for none.
        texts: gives them, without the prompt.
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
    """A line on the texts that were longer than the context; none where all fit."""
    cut = int(found.cut.sum())
    limit = f"{encoder.spec.name}'s {encoder.context_length} tokens"
    return [f"{cut:,} of {len(found.cut):,} {what} cut at {limit}"] if cut else []
