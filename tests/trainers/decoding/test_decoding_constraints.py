"""Blocked trigrams and repeats, bad endings, unknown words and length penalties, against plain loops."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from decoding_helpers import Table, Words, grid, table_memory
from run_helpers import called, refused
from test_decoding_rules import next_logprobs, plain_search

from capreward.errors import InputError
from trainers.captioners.word_vocabulary import WordVocabulary
from trainers.decoding import Decoding, beam_search, decode, diverse_beam_search, greedy, sample
from trainers.decoding.constraints import Constraints, ending_tokens, trigram_costs

COST = 2 * 0.693
RULES = [
    {"block_trigrams": True},
    {"block_repeats": True},
    {"bad_endings": ("1", "2", "3", "5", "7")},
    {"block_trigrams": True, "block_repeats": True, "bad_endings": ("1", "4", "6")},
]
LONGEST = 14


@dataclass(frozen=True)
class Spelt(Words):
    """Numbers that are spelt as numbers."""

    unknown: int | None = None

    def encode(self, caption):
        return [int(word) for word in caption.split()]


WORDS = Spelt(10, 8, 0, 9)


def looping(seed, images, words=WORDS, end=-1.0):
    """A captioner of few words that likes to say the same again: what follows depends on the last two tokens."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(images, 400, words.size, generator=generator) * 2
    table[:, :, words.eos] += end

    class Looping(Table):
        def next(self, place, token):
            return (place % 20) * 20 + token

    return Looping(table, words)


def costs_by_hand(tokens, rules, words=WORDS):
    """What is added to the next token's log-probabilities, one rule after the other, [V]."""
    added = np.zeros(words.size, dtype=np.float32)
    said = tokens[1:]
    if not said:
        return added
    if rules.get("block_repeats"):
        added[said[-1]] = -np.inf
    if str(said[-1]) in rules.get("bad_endings", ()):
        added[words.eos] = -np.inf
    if rules.get("block_trigrams"):
        for first, second, third in zip(said, said[1:], said[2:], strict=False):
            if [first, second] == said[-2:]:
                added[third] -= COST
    return added


def ruled(captioner, image, rules):
    """``logprobs(tokens)`` with the rules; what may not be written is not in it."""
    plain = next_logprobs(captioner, image)
    return lambda tokens: plain(tokens) + costs_by_hand(tokens, rules)


def cost_of(tokens):
    """What the trigrams of a caption cost in all."""
    said = [t for t in tokens[1:] if t != WORDS.pad]
    trigrams = [tuple(said[i : i + 3]) for i in range(len(said) - 2)]
    return COST * sum(trigrams[:n].count(trigram) for n, trigram in enumerate(trigrams))


def own_score(captioner, image, tokens):
    plain = next_logprobs(captioner, image)
    return sum(float(plain(tokens[:n])[tokens[n]]) for n in range(1, len(tokens)))


def unpadded(row):
    return [token for token in row.tolist() if token != WORDS.pad]


@pytest.mark.parametrize("rules", RULES)
def test_greedy_follows_the_rules(rules):
    captioner = looping(1, 12)
    found = greedy(captioner, table_memory(list(range(12))), max_length=LONGEST, **rules)
    free = greedy(captioner, table_memory(list(range(12))), max_length=LONGEST)
    for image in range(12):
        tokens, logprobs = [WORDS.bos], ruled(captioner, image, rules)
        while len(tokens) < LONGEST and tokens[-1] != WORDS.eos:
            row = logprobs(tokens)
            row[[WORDS.bos, WORDS.pad]] = -np.inf
            tokens.append(int(row.argmax()))
        assert unpadded(found.tokens[image, 0]) == tokens
        assert found.scores[image, 0].item() == pytest.approx(own_score(captioner, image, tokens), rel=1e-5)
    assert found.tokens.shape != free.tokens.shape or not found.tokens.equal(free.tokens)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("rules", RULES)
def test_samples_follow_the_rules(rules, temperature):
    """The same uniform numbers through distributions that are made one at a time."""
    images, count = 5, 4
    captioner = looping(2, images)
    chance = torch.Generator().manual_seed(3)
    settings = {"candidates": count, "max_length": LONGEST, "temperature": temperature, **rules}
    found = sample(captioner, table_memory(list(range(images))), generator=chance, **settings)
    uniforms = torch.rand((LONGEST, images * count), generator=chance.manual_seed(3), dtype=torch.float64).numpy()
    for image in range(images):
        for k in range(count):
            tokens, logprobs = [WORDS.bos], ruled(captioner, image, rules)
            while len(tokens) < LONGEST and tokens[-1] != WORDS.eos:
                row = logprobs(tokens).astype(np.float64) / temperature
                row[[WORDS.bos, WORDS.pad]] = -np.inf
                sums = np.exp(row - row.max()).cumsum()
                drawn = uniforms[len(tokens), image * count + k] * sums[-1]
                tokens.append(int(np.searchsorted(sums, drawn, side="right")))
            assert unpadded(found.tokens[image, k]) == tokens
            assert found.scores[image, k].item() == pytest.approx(own_score(captioner, image, tokens), rel=1e-5)


@pytest.mark.parametrize("penalty", [1.0, 0.0])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("rules", RULES)
def test_beams_follow_the_rules(rules, groups, penalty):
    images, beams = 10, 2
    captioner = looping(4, images, end=-3.0)
    settings = {"beams": beams, "max_length": LONGEST, "length_penalty": penalty}
    extra = {"groups": groups, "diversity": 0.5} if groups > 1 else {}
    method = diverse_beam_search if groups > 1 else beam_search
    found = method(captioner, table_memory(list(range(images))), candidates=beams, **settings, **extra, **rules)
    costly = 0
    for image in range(images):
        expected = plain_search(
            ruled(captioner, image, rules), WORDS, forbidden={WORDS.bos, WORDS.pad}, **settings, **extra
        )
        for k, wanted in enumerate(expected[:beams]):
            assert unpadded(found.tokens[image, k]) == wanted["tokens"]
            ended = wanted["tokens"][-1] == WORDS.eos
            norm = (len(wanted["tokens"]) - ended) ** penalty
            cost = cost_of(wanted["tokens"]) if rules.get("block_trigrams") else 0
            costly += cost > 0
            assert found.scores[image, k].item() == pytest.approx(float(wanted["own"]) + cost / norm, rel=1e-4)
            assert found.scores[image, k].item() == pytest.approx(
                own_score(captioner, image, wanted["tokens"]) / norm, rel=1e-4
            )
    assert costly or not rules.get("block_trigrams")


def test_transformers_rules_take_the_costs_back_as_well():
    captioner = looping(4, 10, end=-3.0)
    settings = {"beams": 2, "candidates": 2, "max_length": LONGEST, "rules": "transformers", "block_trigrams": True}
    found = beam_search(captioner, table_memory(list(range(10))), **settings)
    assert (~found.finished).any()
    for image in range(10):
        for k in range(2):
            tokens = unpadded(found.tokens[image, k])
            wanted = own_score(captioner, image, tokens) / (len(tokens) - 1)
            assert found.scores[image, k].item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("method", ["greedy", "sample", "beam", "diverse"])
def test_all_rules_hold_with_a_cache(method):
    """A real decoder: nothing that is forbidden is said, and scores are the model's own."""
    words = Spelt(24, 21, 22, 23)
    captioner, memory = grid(5, words, images=6, end=8, rise=1.0)
    rules = {"block_trigrams": True, "block_repeats": True, "bad_endings": tuple(map(str, range(12)))}
    kinds = {"diverse": {"groups": 2, "beams": 4}, "beam": {"beams": 3}, "sample": {"candidates": 3}}
    settings = Decoding(method=method, max_length=16, length_penalty=0.0, **kinds.get(method, {}), **rules)
    found = decode(captioner, memory, settings, generator=torch.Generator().manual_seed(1))
    free = decode(
        captioner,
        memory,
        replace(settings, block_trigrams=False, block_repeats=False, bad_endings=()),
        generator=torch.Generator().manual_seed(1),
    )
    rows = found.tokens.flatten(0, 1)
    told = captioner.logprobs(memory, rows).sum(-1)
    torch.testing.assert_close(found.scores.flatten(), told, rtol=1e-4, atol=1e-4)
    for row, ended in zip(rows.tolist(), found.finished.flatten().tolist(), strict=True):
        said = [t for t in row[1:] if t != words.pad]
        assert all(one != other for one, other in itertools.pairwise(said))
        assert not ended or said[-2:-1] == [] or said[-2] >= 12
    assert found.tokens.tolist() != free.tokens.tolist()


def test_trigrams_that_were_said_before_cost_by_their_number():
    rules = Constraints(True, False, torch.zeros(0, dtype=torch.long), 0)
    history = torch.tensor([[8, 1, 2, 3, 1, 2, 4, 1, 2, 3, 1, 2], [8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]])
    tokens, amounts = rules(history)
    added = torch.zeros(2, 10).scatter_add(1, tokens, amounts)
    assert added[0].tolist() == pytest.approx([0, 0, 0, -2 * COST, -COST, 0, 0, 0, 0, 0])
    assert added[1, 1].item() == pytest.approx(-9 * COST)
    assert rules(history[:, :1]) is None
    assert rules(history[:, :3]) is None
    spent = trigram_costs(history[:, None], torch.tensor([[11], [11]]))
    assert spent.flatten().tolist() == pytest.approx([cost_of(row) for row in history.tolist()])
    assert trigram_costs(history[:, None], torch.tensor([[5], [4]])).flatten().tolist() == pytest.approx([0, COST])
    assert trigram_costs(history[:, None, :2], torch.tensor([[1], [1]])).flatten().tolist() == [0, 0]


def test_nothing_is_made_where_nothing_is_asked_for():
    assert Constraints.of(WORDS, Decoding(), torch.device("cpu")) is None


def test_unknown_words_are_not_written():
    vocabulary = WordVocabulary(["a", "b", "UNK"])
    table = torch.full((1, 61, 4), 0.0)
    table[:, :, 3] = 5.0  # UNK
    table[:, :, 2] = 1.0
    captioner = Table(table, vocabulary)
    methods = [{"method": "greedy"}, {"method": "sample", "candidates": 50}, {"method": "beam", "beams": 1}]
    for settings in methods:
        chance = torch.Generator().manual_seed(0)
        found, written = (
            decode(
                captioner, table_memory([0]), Decoding(max_length=6, suppress_unknown=s, **settings), generator=chance
            )
            for s in (True, False)
        )
        assert 3 not in found.tokens
        assert 3 in written.tokens
    assert WordVocabulary(["a"]).unknown is None


def test_bad_endings_are_words_of_the_vocabulary():
    vocabulary = WordVocabulary(["a", "dog", "the", "UNK"])
    assert ending_tokens(vocabulary, ("the", "a", "of", "the dog")) == [1, 3]
    with pytest.raises(InputError, match="bad_endings has no word of this captioner's vocabulary: of, with"):
        ending_tokens(vocabulary, ("of", "with"))
    with pytest.raises(InputError, match="no word of this captioner's vocabulary"):
        ending_tokens(WordVocabulary(["a"]), ("of",))


@pytest.mark.parametrize(("penalty", "divisor"), [("wu_0.9", lambda n: ((5 + n) / 6) ** 0.9), ("avg_0", lambda n: n)])
def test_length_penalties_of_the_original(penalty, divisor):
    settings = Decoding(length_penalty=penalty)
    for length in (1, 4, 20):
        assert settings.norm(length) == pytest.approx(divisor(length))
    captioner = looping(6, 8)
    images = table_memory(list(range(8)))
    found = beam_search(captioner, images, beams=3, candidates=3, max_length=LONGEST, length_penalty=penalty)
    for image in range(8):
        for k in range(3):
            tokens = unpadded(found.tokens[image, k])
            count = len(tokens) - (tokens[-1] == WORDS.eos)
            wanted = own_score(captioner, image, tokens) / divisor(count)
            assert found.scores[image, k].item() == pytest.approx(wanted, rel=1e-4)
    scores = found.scores.tolist()
    assert scores == [sorted(each, reverse=True) for each in scores]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"length_penalty": "wu"}, "length_penalty is 'wu'; it must be a number, wu_A or avg_A"),
        ({"length_penalty": "wu_x"}, "it must be a number, wu_A or avg_A, as in wu_0.9"),
        ({"length_penalty": "sum_1"}, "length_penalty is 'sum_1'"),
        ({"length_penalty": float("nan")}, "length_penalty is nan"),
        ({"length_penalty": True}, "length_penalty is True"),
        ({"block_trigrams": 1}, "block_trigrams is 1; it must be true or false"),
        ({"suppress_unknown": None}, "suppress_unknown is None"),
        ({"bad_endings": "the"}, "bad_endings is 'the'; it must be a list of words"),
        ({"bad_endings": ("the", " ")}, "it must be a list of words"),
    ],
)
def test_settings_that_cannot_be(settings, told):
    with pytest.raises(InputError, match=told):
        Decoding(**settings)


def test_settings_come_back_from_json():
    import json

    settings = Decoding(bad_endings=("a", "the"), length_penalty="wu_0.5", block_trigrams=True)
    assert Decoding.from_dict(json.loads(json.dumps(settings.as_dict()))) == settings


def test_banned_tokens_count_among_those_to_choose_from():
    captioner = Table(torch.zeros(1, 61, 6), Spelt(6, 3, 4, 5))
    beam_search(captioner, table_memory([0]), beams=2, max_length=4)
    with pytest.raises(InputError, match="2 beams need 4 tokens to choose from, and the captioner has 3"):
        beam_search(captioner, table_memory([0]), beams=2, max_length=4, block_repeats=True)


def test_the_commands_have_flags():
    flags = ("--block-trigrams", "--block-repeats", "--bad-endings", "the, a", "--length-penalty", "wu_0.7")
    done = called("caption", "scenes:test", "--count", 2, *flags)
    assert done.exit_code == 0, done.output
    assert "trigrams said before made costly, no token right after itself, no end after the, a, length" in done.stderr
    assert called("caption", "scenes:test", "--count", 2, "--greedy", "--block-repeats").exit_code == 0
    assert "length_penalty is 'long'" in refused("caption", "scenes:test", "--count", 1, "--length-penalty", "long")
    assert "--bad-endings names no word" in refused("caption", "scenes:test", "--count", 1, "--bad-endings", " , ")
    done = called("evaluate", "scenes", "--count", 3, "-m", "length", "--resamples", 0, *flags)
    assert done.exit_code == 0, done.output
    assert "no token right after itself" in done.stderr
