"""The settings of decoding, and its results."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

METHODS = ("greedy", "sample", "beam", "diverse")
RULES = ("dico", "transformers", "clip-reward")


@dataclass(frozen=True)
class Decoded:
    """The K captions of each of B images.

    Attributes:
        tokens: Token rows int64 [B, K, L]: begin token, words, end token, padding. Beams are best first, samples in the
            order of drawing.
        lengths: The number of scored tokens, int64 [B, K]: the words, and the end token if there is one.
        scores: The model's own log-probability of those tokens, float32 [B, K] (temperature 1, nothing cut off). The
            score of a beam is divided by ``length ** length_penalty``; the rules of DiCO count one token more in a
            caption that is not finished.
        finished: A bool tensor [B, K]: True if there is an end token, False if the caption was cut at the greatest
            length.
    """

    tokens: Tensor
    lengths: Tensor
    scores: Tensor
    finished: Tensor


@dataclass(frozen=True)
class Decoding:
    """The settings of decoding.

    Attributes:
        method: ``greedy``, ``sample``, ``beam`` or ``diverse``.
        beams: The number of beams of a search, of all groups together.
        candidates: The number K of captions that are returned per image, at most ``beams`` in a beam search; 1 by
            default.
        max_length: The greatest number of tokens of a caption, the begin token included.
        min_length: A caption has no end token before it has this number of tokens, the begin token included.
        length_penalty: The power of the length that divides a beam's score. CLIP-Caption-Reward's spellings are taken
            too: ``wu_A`` divides by ``(5 + length) ** A / 6 ** A`` (Wu et al. 2016), and ``avg_A`` by the length,
            whatever ``A`` is.
        temperature: The temperature of sampling, above 0.
        top_k: Sampling takes only this number of the likeliest tokens; 0 means all.
        top_p: Sampling takes only the likeliest tokens that have this probability together.
        groups: The number of groups of diverse beam search, each of ``beams / groups`` beams.
        diversity: The score that a token loses for every beam of earlier groups that takes it at the same step.
        rules: The rules of beam search. ``dico`` (transformers 4.20, which DiCO used) divides the score of a caption
            cut at ``max_length`` by that length. ``transformers`` (5) does not count the begin token there, and cuts
            only the best ``beams`` continuations. Both go on with ``beams`` captions, however many end. In
            ``clip-reward`` (CLIP-Caption-Reward, after ruotianluo's ImageCaptioning.pytorch) a caption that ends takes
            the place of one that goes on, at that step alone, and the search goes on as long as a longer caption may
            score better: with a length penalty such as ``wu_0.9`` it returns other captions than the first two.
            ``clip-reward`` is for the method ``beam``.
        suppress: Whether begin and padding tokens are never written.
        suppress_unknown: Whether the token for unknown words is never written, in vocabularies that have one. The
            original forbids it only in beam search, and so its samples may contain ``UNK``.
        block_trigrams: Whether a trigram costs 2 * 0.693 for each time that the caption has it already.
        block_repeats: Whether no token may stand right after itself (the original's ``decoding_constraint``).
        bad_endings: Words after which a caption does not end, such as ``a`` or ``with`` (``remove_bad_endings``).

    The last five settings go with every method. What they forbid or make costly counts in the search, but not in the
    scores that are returned.

    Raises:
        InputError: A setting is wrong; the message names it.
    """

    method: str = "beam"
    beams: int = 5
    candidates: int | None = None
    max_length: int = 30
    min_length: int = 0
    length_penalty: float | str = 1.0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    groups: int = 1
    diversity: float = 0.5
    rules: str = "dico"
    suppress: bool = True
    suppress_unknown: bool = True
    block_trigrams: bool = False
    block_repeats: bool = False
    bad_endings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.bad_endings, list):  # as JSON has it
            object.__setattr__(self, "bad_endings", tuple(self.bad_endings))
        self._check_kinds()
        self._check_rules()
        self._check_values()
        self._check_beams()

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Decoding:
        """Read settings of a configuration; missing settings take their defaults.

        Raises:
            InputError: A name is unknown, or a value is wrong.
        """
        known = [f.name for f in fields(cls)]
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise InputError(f"decoding has no setting {unknown[0]!r}; known are {', '.join(known)}")
        return cls(**settings)

    def as_dict(self) -> dict[str, Any]:
        """Return all settings, ready for JSON."""
        return asdict(self)

    @property
    def per_image(self) -> int:
        """The number K of captions per image."""
        return 1 if self.candidates is None else self.candidates

    def _check_kinds(self) -> None:
        for name in ("beams", "max_length", "min_length", "top_k", "groups", "candidates"):
            value = getattr(self, name)
            if type(value) is not int and not (name == "candidates" and value is None):
                raise InputError(f"decoding: {name} is {value!r}; it must be a whole number")
        for name in ("temperature", "top_p", "diversity"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value):
                raise InputError(f"decoding: {name} is {value!r}; it must be a number")
        for name, allowed in (("method", METHODS), ("rules", RULES)):
            if getattr(self, name) not in allowed:
                raise InputError(f"decoding: {name} is {getattr(self, name)!r}; known are {', '.join(allowed)}")

    def _check_rules(self) -> None:
        for name in ("suppress", "suppress_unknown", "block_trigrams", "block_repeats"):
            if type(getattr(self, name)) is not bool:
                raise InputError(f"decoding: {name} is {getattr(self, name)!r}; it must be true or false")
        words = self.bad_endings
        if not isinstance(words, tuple) or not all(isinstance(word, str) and word.strip() for word in words):
            raise InputError(f"decoding: bad_endings is {words!r}; it must be a list of words")
        _norm_of(self.length_penalty)

    def norm(self, length: int) -> float:
        """Return the number that divides the score of a beam of ``length`` scored tokens."""
        kind, power = _norm_of(self.length_penalty)
        if kind == "wu":
            return float((5 + length) ** power / 6**power)
        return float(length**power)

    def _check_values(self) -> None:
        wanted = (
            ("beams", self.beams >= 1, "at least 1"),
            ("candidates", self.per_image >= 1, "at least 1"),
            ("max_length", self.max_length >= 2, "at least 2: the begin token and one more"),
            ("min_length", 0 <= self.min_length < self.max_length, "at least 0 and below max_length"),
            ("temperature", self.temperature > 0, "above 0; for temperature 0 take the method greedy"),
            ("top_k", self.top_k >= 0, "at least 0, which means all tokens"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("groups", self.groups >= 1, "at least 1"),
            ("diversity", self.diversity >= 0, "at least 0"),
        )
        for name, good, condition in wanted:
            if not good:
                raise InputError(f"decoding: {name} is {getattr(self, name)}; it must be {condition}")

    def _check_beams(self) -> None:
        if self.method == "greedy" and self.per_image > 1:
            raise InputError(
                f"decoding: greedy gives one caption, and candidates is {self.candidates}; take the method sample"
            )
        if self.method in ("beam", "diverse") and self.per_image > self.beams:
            raise InputError(f"decoding: candidates is {self.candidates}, more than the {self.beams} beams")
        if self.method == "diverse" and self.beams % self.groups:
            raise InputError(f"decoding: {self.beams} beams cannot be shared evenly among {self.groups} groups")
        if self.method == "diverse" and self.rules == "clip-reward":
            raise InputError("decoding: the rules clip-reward are of the method beam; take dico or transformers")
        if self.method != "diverse" and self.groups != 1:
            raise InputError(f"decoding: the method {self.method} has no groups; take the method diverse")


def _norm_of(penalty: float | str) -> tuple[str, float]:
    """Return ``wu`` or ``power``, and the power.

    Raises:
        InputError: The penalty is neither a number nor ``wu_A`` nor ``avg_A``.
    """
    if type(penalty) in (int, float) and math.isfinite(penalty):  # type: ignore[arg-type]
        return "power", float(penalty)
    kind, mark, text = str(penalty).partition("_")
    try:
        power = float(text)
    except ValueError:
        power = math.nan
    if type(penalty) is not str or kind not in ("wu", "avg") or not mark or not math.isfinite(power):
        hint = "it must be a number, wu_A or avg_A, as in wu_0.9"
        raise InputError(f"decoding: length_penalty is {penalty!r}; {hint}")
    return ("wu", power) if kind == "wu" else ("power", 1.0)
