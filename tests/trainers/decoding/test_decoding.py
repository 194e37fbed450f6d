"""What holds for every method of decoding: scores, batches, dropping, settings; and the cache under it."""

from __future__ import annotations

import pytest
import torch
from decoding_helpers import Words, grid
from rounding import check_close

from capreward.errors import InputError
from trainers.captioners.base import Memory
from trainers.captioners.cache import Cache
from trainers.decoding import (
    Decoding,
    beam_search,
    beams,
    decode,
    diverse_beam_search,
    greedy,
    independent_rows,
    sample,
)

WORDS = Words(60, 57, 58, 59)
ONE = Words(60, 0, 0, 0)  # one token begins, ends and fills captions
METHODS = {
    "greedy": Decoding(method="greedy", max_length=14),
    "sample": Decoding(method="sample", candidates=4, max_length=14, top_k=8),
    "sample_hot": Decoding(method="sample", candidates=3, max_length=14, temperature=1.7, top_p=0.9),
    "beam": Decoding(beams=4, candidates=4, max_length=14),
    "beam_transformers": Decoding(beams=4, candidates=4, max_length=14, rules="transformers"),
    "diverse": Decoding(method="diverse", beams=6, groups=3, candidates=6, max_length=14),
}
SEARCHES = [name for name in METHODS if "sample" not in name]


def captioner_of(words=WORDS, images=7, seed=0):
    return grid(seed, words, images=images, end=3, rise=1.3, sharpness=2, longest=20)


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def only(memory, images):
    return Memory(memory.states[images])


@pytest.mark.parametrize("words", [WORDS, ONE], ids=["three tokens", "one token"])
@pytest.mark.parametrize("name", METHODS)
def test_scores_are_the_log_probabilities_of_one_pass_without_cache(name, words):
    captioner, memory = captioner_of(words)
    settings = METHODS[name]
    found = decode(captioner, memory, settings, generator=seeded())
    assert found.tokens.shape[:2] == (7, settings.per_image)
    total = captioner.logprobs(memory, found.tokens.flatten(0, 1)).sum(1).view(found.scores.shape).detach()
    if "beam" in name or name == "diverse":
        total = total / (found.lengths + (~found.finished if settings.rules == "dico" else 0))
    torch.testing.assert_close(found.scores, total, rtol=1e-4, atol=1e-4)
    assert len(set(found.lengths.flatten().tolist())) > 2


@pytest.mark.parametrize("words", [WORDS, ONE], ids=["three tokens", "one token"])
@pytest.mark.parametrize("name", METHODS)
def test_tokens_begin_end_and_are_filled_up(name, words):
    captioner, memory = captioner_of(words)
    found = decode(captioner, memory, METHODS[name], generator=seeded())
    assert found.tokens.shape[2] == found.lengths.max() + 1
    for row, length, finished in zip(
        found.tokens.flatten(0, 1).tolist(),
        found.lengths.flatten().tolist(),
        found.finished.flatten().tolist(),
        strict=True,
    ):
        assert row[0] == words.bos
        assert not set(row[1:length]) & {words.bos, words.eos, words.pad}
        assert (row[length] == words.eos) == finished
        assert finished or length == METHODS[name].max_length - 1
        assert row[length + 1 :] == [words.pad] * (len(row) - length - 1)
    assert found.finished.any()


@pytest.mark.parametrize("name", SEARCHES)
def test_an_image_is_decoded_alike_alone_and_in_any_order(name):
    captioner, memory = captioner_of()
    whole = decode(captioner, memory, METHODS[name])
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    turned = decode(captioner, only(memory, order), METHODS[name])
    assert torch.equal(turned.tokens, whole.tokens[order])
    for image in range(7):
        alone = decode(captioner, only(memory, [image]), METHODS[name])
        width = alone.tokens.shape[2]
        assert torch.equal(alone.tokens[0], whole.tokens[image, :, :width])
        assert torch.equal(alone.lengths[0], whole.lengths[image])
        torch.testing.assert_close(alone.scores[0], whole.scores[image])


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("worth", [False, True], ids=["nothing is dropped", "all is dropped"])
def test_dropping_changes_nothing(name, worth, monkeypatch):
    captioner, memory = captioner_of(images=12)
    expected = decode(captioner, memory, METHODS[name], generator=seeded(1))
    asked = []
    for module in (independent_rows, beams):
        monkeypatch.setattr(
            module, "worth_dropping", lambda before, after: asked.append(before - after) or (worth and after < before)
        )
    found = decode(captioner, memory, METHODS[name], generator=seeded(1))
    assert max(asked) > 0
    assert torch.equal(found.tokens, expected.tokens)
    torch.testing.assert_close(found.scores, expected.scores)


@pytest.mark.parametrize("name", METHODS)
def test_looking_seldom_changes_nothing(name, monkeypatch):
    captioner, memory = captioner_of(images=5)
    expected = decode(captioner, memory, METHODS[name], generator=seeded(1))
    for module in (independent_rows, beams):
        monkeypatch.setattr(module, "sync_due", lambda step, device: step % 5 == 0)
    found = decode(captioner, memory, METHODS[name], generator=seeded(1))
    assert torch.equal(found.tokens, expected.tokens)
    torch.testing.assert_close(found.scores, expected.scores)


def test_the_search_stops_when_all_captions_are_done(monkeypatch):
    captioner, memory = grid(0, WORDS, images=3, end=1, rise=30, sharpness=4)
    steps = []
    plain = captioner.step
    monkeypatch.setattr(captioner, "step", lambda cache, tokens: steps.append(len(tokens)) or plain(cache, tokens))
    for settings in METHODS.values():
        steps.clear()
        found = decode(captioner, memory, settings, generator=seeded())
        assert found.lengths.max() <= len(steps) <= found.lengths.max() + 1
        assert len(steps) <= 8 or settings.temperature > 1
        assert steps[0] == 3  # the first step is shared by all beams and samples of an image


def test_one_group_is_beam_search():
    captioner, memory = captioner_of()
    plain = beam_search(captioner, memory, beams=5, candidates=5, max_length=14)
    one = diverse_beam_search(captioner, memory, beams=5, candidates=5, max_length=14, groups=1, diversity=3.0)
    assert torch.equal(one.tokens, plain.tokens)
    check_close(one.scores, plain.scores)


def test_one_beam_without_length_penalty_finds_a_caption_as_good_as_greedy():
    captioner, memory = captioner_of()
    one = beam_search(captioner, memory, beams=1, max_length=14, length_penalty=0.0)
    simple = greedy(captioner, memory, max_length=14)
    assert (one.scores >= simple.scores - 1e-4).all()


def test_the_best_candidates_do_not_depend_on_how_many_are_asked_for():
    captioner, memory = captioner_of()
    for name in ("beam", "diverse"):
        settings = METHODS[name].as_dict()
        every = decode(captioner, memory, Decoding.from_dict(settings))
        best = decode(captioner, memory, Decoding.from_dict({**settings, "candidates": None}))
        assert torch.equal(best.tokens[:, 0], every.tokens[:, 0, : best.tokens.shape[2]])
        assert best.tokens.shape[1] == 1
        assert (every.scores.diff(dim=1) <= 0).all()


def test_captions_have_the_least_length():
    captioner, memory = grid(0, WORDS, images=3, end=1, rise=30, sharpness=4)
    for settings in METHODS.values():
        asked = Decoding.from_dict({**settings.as_dict(), "min_length": 9})
        found = decode(captioner, memory, asked, generator=seeded())
        assert found.lengths.min() == 9


def test_nothing_is_learned_from_and_the_mode_stays():
    captioner, memory = captioner_of(images=2)
    captioner.train()
    memory.states.requires_grad_()
    for settings in METHODS.values():
        assert not decode(captioner, memory, settings).scores.requires_grad
    assert captioner.training
    assert torch.is_grad_enabled()


def test_no_images_give_no_captions():
    captioner, memory = captioner_of()
    for settings in METHODS.values():
        found = decode(captioner, only(memory, []), settings)
        assert found.tokens.shape == (0, settings.per_image, 1)
        assert found.scores.shape == found.lengths.shape == found.finished.shape == (0, settings.per_image)


def test_half_precision_decodes():
    captioner, memory = captioner_of()
    exact = {name: decode(captioner, memory, settings, generator=seeded()) for name, settings in METHODS.items()}
    half = captioner.to(torch.bfloat16)
    for name, settings in METHODS.items():
        found = decode(half, Memory(memory.states.to(torch.bfloat16)), settings, generator=seeded())
        assert found.scores.dtype == torch.float32
        assert (found.tokens[:, :, 1] == exact[name].tokens[:, :, 1]).float().mean() > 0.4


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"method": "beams"}, "method is 'beams'; known are greedy, sample, beam, diverse"),
        ({"rules": "hf"}, "known are dico, transformers"),
        ({"beams": 0}, "beams is 0; it must be at least 1"),
        ({"beams": 2.0}, "beams is 2.0; it must be a whole number"),
        ({"beams": True}, "must be a whole number"),
        ({"candidates": 6}, "candidates is 6, more than the 5 beams"),
        ({"candidates": 0}, "candidates"),
        ({"method": "greedy", "candidates": 2}, "greedy gives one caption"),
        ({"max_length": 1}, "max_length is 1"),
        ({"min_length": 30}, "min_length is 30"),
        ({"temperature": 0}, "for temperature 0 take the method greedy"),
        ({"temperature": float("nan")}, "must be a number"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"length_penalty": "1"}, "length_penalty is '1'"),
        ({"diversity": -0.5}, "diversity is -0.5"),
        ({"method": "diverse", "groups": 2}, "5 beams cannot be shared evenly among 2 groups"),
        ({"groups": 5}, "take the method diverse"),
        ({"suppress": 1}, "suppress is 1"),
        ({"beam": 3}, "no setting 'beam'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Decoding.from_dict(settings)


def test_settings_that_the_captioner_cannot_meet_are_refused():
    captioner, memory = captioner_of()
    with pytest.raises(InputError, match="max_length is 21, and this captioner has 20 places"):
        greedy(captioner, memory, max_length=21)
    with pytest.raises(InputError, match="30 beams need 60 tokens to choose from, and the captioner has 58"):
        beam_search(captioner, memory, beams=30, max_length=9)
    assert beam_search(captioner, memory, beams=29, max_length=9).tokens.shape[:2] == (7, 1)


def test_settings_go_through_a_dictionary():
    settings = Decoding(method="sample", candidates=3, temperature=0.7)
    assert Decoding.from_dict(settings.as_dict()) == settings


class Lists:
    """The cache as lists of each row's tokens."""

    def __init__(self, images):
        self.rows = [(image, []) for image in range(images)]

    def take(self, rows):
        self.rows = [(self.rows[i][0], list(self.rows[i][1])) for i in rows]


def test_the_cache_gives_every_row_its_own_words():
    """Three layers' keys through growing, choosing anew, dropping images and rows, against lists."""
    generator = seeded(3)
    images, heads, width, layers = 4, 2, 3, 2
    cross = [(torch.randn(images, heads, 5, width), torch.randn(images, heads, 5, width)) for _ in range(layers)]
    given = [(k.clone(), v.clone()) for k, v in cross]
    cache, lists, alive = Cache(cross, images, 9), Lists(images), list(range(images))
    plan = [
        ("reorder", [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]),
        ("reorder", [0, 2, 2, 5, 4, 3, 6, 6, 6, 11, 10, 9]),
        ("keep", [3, 1, 2], [9, 11, 9, 3, 4, 5, 8, 7, 6]),
        ("reorder", [1, 0, 2, 3, 3, 3, 8, 7, 6]),
        ("keep", [0, 2], [0, 2, 7, 7]),
        ("keep", [1], [2]),
    ]
    for action in [*plan, None]:
        for layer in range(layers):
            shape = (cache.images, heads, cache.per_image, width)
            key, value = (torch.randn(shape, generator=generator) for _ in range(2))
            if layer == 0:
                for _, held in lists.rows:
                    held.append([])
            for row, (_, held) in enumerate(lists.rows):
                place = divmod(row, cache.per_image)
                held[-1].append((key[place[0], :, place[1]], value[place[0], :, place[1]]))
            keys, values, bias = cache.extend(layer, key, value)
            for row, (_, held) in enumerate(lists.rows):
                image, number = divmod(row, cache.per_image)
                own = slice(None) if bias is None else bias[image, 0, number] == 0
                assert bias is None or bias[image, 0, number, ~own].eq(-torch.inf).all()
                assert torch.equal(keys[image][:, own], torch.stack([token[layer][0] for token in held], 1))
                assert torch.equal(values[image][:, own], torch.stack([token[layer][1] for token in held], 1))
            for place, image in enumerate(alive):
                assert torch.equal(cache.cross[layer][0][place], given[layer][0][image])
                assert torch.equal(cache.cross[layer][1][place], given[layer][1][image])
        cache.length += 1
        if action:
            if action[0] == "keep":
                cache.keep(*(torch.tensor(part) for part in action[1:]))
                alive = [alive[i] for i in action[1]]
            else:
                cache.reorder(torch.tensor(action[1]))
            lists.take(action[-1])
    assert len(cache) == 1
    assert [torch.equal(k, g) for (k, _), (g, _) in zip(cross, given, strict=True)] == [True, True]  # not overwritten


def test_samples_use_torchs_generator_by_default():
    captioner, memory = captioner_of()
    torch.manual_seed(5)
    first = sample(captioner, memory, candidates=3, max_length=10)
    torch.manual_seed(5)
    second = sample(captioner, memory, candidates=3, max_length=10)
    assert torch.equal(first.tokens, second.tokens)
