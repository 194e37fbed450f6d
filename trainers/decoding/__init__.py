"""Greedy decoding, sampling, beam search and diverse beam search of captions; this package knows no reward."""

from __future__ import annotations

from trainers.decoding.methods import beam_search, decode, diverse_beam_search, greedy, sample
from trainers.decoding.settings import Decoded, Decoding

__all__ = ["Decoded", "Decoding", "beam_search", "decode", "diverse_beam_search", "greedy", "sample"]
