"""The methods by name and by function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from capreward.errors import InputError
from trainers.decoding.beams import search
from trainers.decoding.constraints import Constraints, unknown_token
from trainers.decoding.independent_rows import grow
from trainers.decoding.settings import Decoded, Decoding

if TYPE_CHECKING:
    from trainers.captioners.base import Captioner, Memory


@torch.no_grad()
def decode(
    captioner: Captioner, memory: Memory, settings: Decoding, *, generator: torch.Generator | None = None
) -> Decoded:
    """Captions of images, without gradients.

    The captioner's mode is left as it is: in training mode its dropout is active, as DiCO has it in the search for
    candidates.

    Args:
        captioner: any.
        memory: of B images, as ``captioner.encode`` gives it.
        settings: the method and its numbers.
        generator: of the method ``sample``, which uses no other randomness; torch's own by default.

    Returns:
        [B, K] captions.

    Raises:
        InputError: settings that the captioner cannot meet.
    """
    forbidden = _forbidden(captioner, settings)
    if not len(memory):
        return _nothing(captioner, memory, settings)
    constraints = Constraints.of(captioner.vocabulary, settings, memory.states.device)
    if settings.method in ("greedy", "sample"):
        return grow(captioner, memory, settings, forbidden, generator, constraints)
    return search(captioner, memory, settings, forbidden, constraints)


def greedy(captioner: Captioner, memory: Memory, **settings: Any) -> Decoded:
    """The likeliest token at every step, the first one where several are; K is 1.

    Args:
        captioner: any.
        memory: of B images.
        settings: of :class:`Decoding`: ``max_length``, ``min_length``, ``suppress``.

    Returns:
        [B, 1] captions; scores are sums of log-probabilities.
    """
    return decode(captioner, memory, Decoding(method="greedy", **settings))


def sample(
    captioner: Captioner, memory: Memory, *, generator: torch.Generator | None = None, **settings: Any
) -> Decoded:
    """Captions drawn from the captioner's distribution; the K of an image share the first step.

    Args:
        captioner: any.
        memory: of B images.
        generator: the only randomness; torch's own by default.
        settings: of :class:`Decoding`: ``candidates``, ``temperature``, ``top_k`` (Fan et al. 2018), ``top_p``
            (Holtzman et al. 2020), ``max_length``, ``min_length``, ``suppress``.

    Returns:
        [B, K] captions in the order of drawing; scores are sums of log-probabilities at temperature 1.
    """
    return decode(captioner, memory, Decoding(method="sample", **settings), generator=generator)


def beam_search(captioner: Captioner, memory: Memory, **settings: Any) -> Decoded:
    """Beam search as DiCO does it (dico.md 2.5), or as transformers does.

    Args:
        captioner: any.
        memory: of B images.
        settings: of :class:`Decoding`: ``beams``, ``candidates``, ``max_length``, ``min_length``, ``length_penalty``,
            ``rules``, ``suppress``.

    Returns:
        [B, K] captions, best first; of equal ones the one that ended first.
    """
    return decode(captioner, memory, Decoding(method="beam", **settings))


def diverse_beam_search(captioner: Captioner, memory: Memory, **settings: Any) -> Decoded:
    """Groups of beams, each kept from the words of the groups before it (Vijayakumar et al. 2016; Hamming diversity).

    Args:
        captioner: any.
        memory: of B images.
        settings: of :class:`Decoding`: those of ``beam_search``, ``groups`` and ``diversity``.

    Returns:
        [B, K] captions of all groups, best first by the model's own log-probability: what diversity costs counts in the
        search alone.
    """
    return decode(captioner, memory, Decoding(method="diverse", **settings))


def _nothing(captioner: Captioner, memory: Memory, settings: Decoding) -> Decoded:
    """Of no images."""
    empty = torch.zeros((0, settings.per_image), dtype=torch.long, device=memory.states.device)
    return Decoded(empty.unsqueeze(2) + captioner.vocabulary.bos, empty, empty.float(), empty.bool())


def _forbidden(captioner: Captioner, settings: Decoding) -> list[list[int]]:
    """Per place of a caption, the tokens that are not written there."""
    words = captioner.vocabulary
    if settings.max_length > captioner.longest:
        raise InputError(
            f"decoding: max_length is {settings.max_length}, and this captioner has {captioner.longest} places"
        )
    never = sorted({words.bos, words.pad} - {words.eos}) if settings.suppress else []
    unknown = unknown_token(words) if settings.suppress_unknown else None
    never = never if unknown is None else [*never, unknown]
    return [[*never, words.eos] if at < settings.min_length else never for at in range(settings.max_length)]
