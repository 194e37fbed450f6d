"""The grid captioner: its cache, its batches, its tokens."""

from __future__ import annotations

import pytest
import torch

from capreward import InputError
from trainers.captioners.grid import GridCaptioner, GridSizes
from trainers.captioners.towers import PatchTower, StoredTower
from trainers.captioners.vocabulary import ClipVocabulary, target_mask, token_rows

CAPTIONS = ["a dog on a bench", "two red cats", "a dog on a bench, sitting in the green grass", "a man"]


@pytest.fixture(scope="module")
def vocabulary():
    return ClipVocabulary()


@pytest.fixture(scope="module")
def captioner(vocabulary):
    torch.manual_seed(0)
    sizes = GridSizes(width=32, heads=4, inner=64, encoder_layers=2, decoder_layers=2, longest=20, dropout=0.2)
    found = GridCaptioner(StoredTower((6, 24)), vocabulary, sizes)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return found.eval()


@pytest.fixture(scope="module")
def features():
    return torch.randn(len(CAPTIONS), 6, 24, generator=torch.Generator().manual_seed(1))


def stepped(captioner, memory, tokens):
    """Log-probabilities of a step after the other, with a cache of one row per image."""
    cache = captioner.start(memory, tokens.shape[1])
    found = []
    for place in range(tokens.shape[1] - 1):
        table = torch.log_softmax(captioner.step(cache, tokens[:, place]), -1)
        found.append(table.gather(1, tokens[:, place + 1 : place + 2]))
    return torch.cat(found, 1)


@torch.no_grad()
def test_cached_steps_are_the_whole_pass(captioner, features):
    tokens = captioner.token_rows(CAPTIONS)
    memory = captioner.encode(captioner.look(features))
    mask = target_mask(captioner.vocabulary, tokens)
    whole = captioner.logprobs(memory, tokens)
    assert whole.shape == (4, tokens.shape[1] - 1)
    assert whole[~mask].eq(0).all()
    assert whole[mask].lt(-0.5).all()
    torch.testing.assert_close(stepped(captioner, memory, tokens)[mask], whole[mask], rtol=0, atol=2e-5)


@torch.no_grad()
def test_rows_of_one_image_share_it(captioner, features):
    tokens = captioner.token_rows(CAPTIONS + CAPTIONS[::-1])
    two = features[:2]
    together = captioner(two, tokens)  # four rows of the first image, four of the second
    apart = captioner(two.repeat_interleave(4, 0), tokens)
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-5)
    assert (together[0] - together[7]).abs().max() > 1e-2


@torch.no_grad()
def test_order_and_company_change_nothing(captioner, features):
    tokens = captioner.token_rows(CAPTIONS)
    whole = captioner(features, tokens)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(captioner(features[order], tokens[order]), whole[order], rtol=0, atol=1e-5)
    alone = captioner(features[1:2], captioner.token_rows(CAPTIONS[1:2]))
    torch.testing.assert_close(alone, whole[1:2, : alone.shape[1]], rtol=0, atol=1e-5)


@torch.no_grad()
def test_rows_are_reordered_and_dropped(captioner, features):
    tokens = captioner.token_rows(CAPTIONS)
    memory = captioner.encode(features)
    cache = captioner.start(memory, 12)
    cache.reorder(torch.arange(4).repeat_interleave(2))  # two rows of each image
    rows = tokens.repeat_interleave(2, 0)
    for place in range(3):
        captioner.step(cache, rows[:, place])
    cache.keep(torch.tensor([0, 2]), torch.tensor([1, 0, 4, 5]))
    assert len(cache) == 4
    last = captioner.step(cache, rows[[1, 0, 4, 5], 3])
    expected = captioner.start(captioner.encode(features[[0, 0, 2, 2]]), 12)
    for place in range(4):
        logits = captioner.step(expected, rows[[1, 0, 4, 5], place])
    torch.testing.assert_close(last, logits, rtol=0, atol=2e-5)


def test_dropout_is_for_training_alone(captioner, features):
    tokens = captioner.token_rows(CAPTIONS)
    with torch.no_grad():
        assert torch.equal(captioner(features, tokens), captioner(features, tokens))
        captioner.train()
        noisy = captioner(features, tokens)
        captioner.eval()
    assert (noisy - captioner(features, tokens)).abs().max() > 1e-2


@torch.no_grad()
def test_in_training_a_step_drops_what_the_whole_pass_drops(vocabulary, features):
    """With all but nothing dropped, the last norm's bias alone is left, whichever way words are read."""
    torch.manual_seed(0)
    sizes = GridSizes(width=32, heads=4, inner=64, encoder_layers=1, decoder_layers=2, longest=20, dropout=1 - 1e-9)
    captioner = GridCaptioner(StoredTower((6, 24)), vocabulary, sizes).eval()
    for parameter in captioner.parameters():
        parameter.normal_(std=0.2)
    memory = captioner.encode(features)
    captioner.train()
    logits = captioner.step(captioner.start(memory, 8), torch.full((4,), 320))
    expected = captioner.words.weight @ captioner.final_norm.bias
    torch.testing.assert_close(logits, expected.expand_as(logits), rtol=0, atol=1e-5)
    tokens = captioner.token_rows(CAPTIONS)
    whole = captioner.logprobs(memory, tokens)
    mask = target_mask(vocabulary, tokens)
    torch.testing.assert_close(whole[mask], torch.log_softmax(expected, 0)[tokens[:, 1:][mask]], rtol=0, atol=1e-5)


def test_smoothing_and_gradients_reach_every_weight(captioner, features):
    tokens = captioner.token_rows(CAPTIONS)
    captioner.zero_grad()
    (-captioner(features, tokens, smoothing=0.1)).mean().backward()
    assert [n for n, p in captioner.named_parameters() if p.grad is None] == []
    captioner.zero_grad()
    with torch.no_grad():
        assert (captioner(features, tokens, 0.1) - captioner(features, tokens)).abs().max() > 1e-2


def test_parameters_are_the_original_s_that_are_used(vocabulary):
    """dico.md 2.3 counts 48,680,960 used weights, among them 512 places and two token types of BERT's."""
    with torch.device("meta"):
        wide = GridCaptioner(StoredTower((257, 1024)), vocabulary, GridSizes(longest=1024))
        default = GridCaptioner(StoredTower((257, 1024)), vocabulary)
    unreached = (512 - 257) * 512 + 2 * 512
    count = sum(p.numel() for p in wide.parameters())
    assert count + unreached == 48_680_960
    assert sum(p.numel() for p in default.parameters()) == count - (1024 - 77) * 512


def test_clip_s_tokens_and_back(vocabulary):
    text = "A Dog, sitting on a bench."
    ids = [320, 1929, 267, 4919, 525, 320, 8771, 269]
    assert vocabulary.encode(text) == ids
    assert token_rows(vocabulary, [text], 77).tolist() == [[49406, *ids, 49407]]
    assert vocabulary.decode(ids) == "a dog, sitting on a bench."
    assert vocabulary.decode(vocabulary.encode("21")) == "2 1"
    assert (vocabulary.bos, vocabulary.eos, vocabulary.pad, vocabulary.size) == (49406, 49407, 49408, 49409)
    assert vocabulary.decode([49406, 320, 49408, 1929, 49407]) == "a dog"


def test_rows_are_padded_and_cut(captioner):
    rows = captioner.token_rows(["a dog", "a dog on a bench"])
    assert rows[0].tolist() == [49406, 320, 1929, 49407, 49408, 49408, 49408]
    mask = target_mask(captioner.vocabulary, rows)
    assert mask.tolist() == [[True] * 3 + [False] * 3, [True] * 6]
    long = captioner.token_rows(["dog " * 30])
    assert long.shape == (1, 20)
    assert long[0, -1] == 1929  # cut, without its end
    assert captioner.decode_text(rows) == ["a dog", "a dog on a bench"]
    inner = torch.tensor([[49406, 320, 49408, 1929, 49407, 320]])
    assert target_mask(captioner.vocabulary, inner).tolist() == [[True, False, True, True, False]]
    assert captioner.decode_text(inner) == ["a dog"]


def test_what_towers_refuse(captioner, vocabulary):
    with pytest.raises(InputError, match=r"takes features \[6, 24\]; found \[5, 24\]"):
        captioner.look(torch.zeros(2, 5, 24))
    with pytest.raises(InputError, match="has no tower for pictures"):
        captioner.look(torch.zeros(2, 32, 32, 3, dtype=torch.uint8))
    with pytest.raises(InputError, match="a tower of its own, which takes pictures"):
        PatchTower(32, 32).look(torch.zeros(2, 5, 24))
    with pytest.raises(InputError, match="width 30 must be a multiple of heads 8"):
        GridCaptioner(StoredTower((6, 24)), vocabulary, GridSizes(width=30))
    assert StoredTower((1, 24)).look(torch.ones(2, 24)).shape == (2, 1, 24)


def test_a_small_tower_learns(vocabulary):
    sizes = GridSizes(width=32, heads=4, inner=64, encoder_layers=1, decoder_layers=1, longest=20)
    captioner = GridCaptioner(PatchTower(32, 32), vocabulary, sizes)
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    captioner(captioner.look(pixels), captioner.token_rows(CAPTIONS[:2])).sum().backward()
    assert captioner.tower.layers[0].weight.grad.norm() > 0
    assert captioner.encode(captioner.look(pixels)).states.shape == (2, 4, 32)
