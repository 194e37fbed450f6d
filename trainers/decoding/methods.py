"""The decoding methods: ``decode``, which takes settings, and one function for each method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from capreward.errors import InputError
from trainers.decoding.beams import search
from trainers.decoding.constraints import Constraints, unknown_token
from trainers.decoding.independent_rows import decode_rows
from trainers.decoding.settings import Decoded, Decoding

if TYPE_CHECKING:
    from trainers.captioners.base import Captioner, Memory


@torch.no_grad()
def decode(
    captioner: Captioner, memory: Memory, settings: Decoding, *, generator: torch.Generator | None = None
) -> Decoded:
    """Decode captions of images, without gradients.

    The captioner's mode is left as it is: in training mode its dropout is active, as in DiCO's search for candidates.

    Args:
        captioner: The captioner.
        memory: The memory of B images, from ``captioner.encode``.
        settings: The method and its settings.
        generator: The generator of the method ``sample``, which uses no other randomness; torch's own by default.

    Returns:
        The captions [B, K].

    Raises:
        InputError: The captioner cannot meet the settings.
    """
    forbidden = _forbidden_tokens(captioner, settings)
    if not len(memory):
        return _empty_result(captioner, memory, settings)
    constraints = Constraints.of(captioner.vocabulary, settings, memory.states.device)
    if settings.method in ("greedy", "sample"):
        return decode_rows(captioner, memory, settings, forbidden, generator, constraints)
    return search(captioner, memory, settings, forbidden, constraints)


def greedy(captioner: Captioner, memory: Memory, **settings: Any) -> Decoded:
    """Take the likeliest token at every step, the first one if several are equal; K is 1.

    Args:
        captioner: The captioner.
        memory: The memory of B images.
        settings: Settings of :class:`Decoding`: ``max_length``, ``min_length``, ``suppress``.

    Returns:
        The captions [B, 1]; their scores are sums of log-probabilities.
    """
    return decode(captioner, memory, Decoding(method="greedy", **settings))


def sample(
    captioner: Captioner, memory: Memory, *, generator: torch.Generator | None = None, **settings: Any
) -> Decoded:
    """Draw captions from the captioner's distribution; the K captions of an image share the first step.

    Args:
        captioner: The captioner.
        memory: The memory of B images.
        generator: The only source of randomness; torch's own by default.
        settings: Settings of :class:`Decoding`: ``candidates``, ``temperature``, ``top_k`` (Fan et al. 2018), ``top_p``
            (Holtzman et al. 2020), ``max_length``, ``min_length``, ``suppress``.

    Returns:
        The captions [B, K] in the order of drawing; their scores are sums of log-probabilities at temperature 1.
    """
    return decode(captioner, memory, Decoding(method="sample", **settings), generator=generator)


def beam_search(captioner: Captioner, memory: Memory, **settings: Any) -> Decoded:
    """Search captions by beam search as DiCO does (dico.md 2.5), or as transformers does.

    Args:
        captioner: The captioner.
        memory: The memory of B images.
        settings: Settings of :class:`Decoding`: ``beams``, ``candidates``, ``max_length``, ``min_length``,
            ``length_penalty``, ``rules``, ``suppress``.

    Returns:
        The captions [B, K], best first; among equal ones the one that ended first comes first.
    """
    return decode(captioner, memory, Decoding(method="beam", **settings))


def diverse_beam_search(captioner: Captioner, memory: Memory, **settings: Any) -> Decoded:
    """Search by groups of beams that avoid the words of earlier groups (Vijayakumar et al. 2016; Hamming diversity).

    Args:
        captioner: The captioner.
        memory: The memory of B images.
        settings: Settings of :class:`Decoding`: those of ``beam_search``, ``groups`` and ``diversity``.

    Returns:
        The captions [B, K] of all groups, best first by the model's own log-probability: the cost of diversity counts
        only in the search.
    """
    return decode(captioner, memory, Decoding(method="diverse", **settings))


def _empty_result(captioner: Captioner, memory: Memory, settings: Decoding) -> Decoded:
    """Return the result of decoding no images."""
    empty = torch.zeros((0, settings.per_image), dtype=torch.long, device=memory.states.device)
    return Decoded(empty.unsqueeze(2) + captioner.vocabulary.bos, empty, empty.float(), empty.bool())


def _forbidden_tokens(captioner: Captioner, settings: Decoding) -> list[list[int]]:
    """Return, for each place of a caption, the tokens that are not written there."""
    words = captioner.vocabulary
    if settings.max_length > captioner.longest:
        raise InputError(
            f"decoding: max_length is {settings.max_length}, and this captioner has {captioner.longest} places"
        )
    never = sorted({words.bos, words.pad} - {words.eos}) if settings.suppress else []
    unknown = unknown_token(words) if settings.suppress_unknown else None
    never = never if unknown is None else [*never, unknown]
    return [[*never, words.eos] if at < settings.min_length else never for at in range(settings.max_length)]
