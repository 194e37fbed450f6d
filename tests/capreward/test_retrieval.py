"""Ranks of retrieval against brute force in exact arithmetic, ties included, whatever the blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from capreward.errors import InputError
from capreward.retrieval_ranks import Ranks, Standing, retrieval_ranks, summary


def whole_numbers(n, m, d=6, top=3, seed=0):
    """Features whose products are exact in any arithmetic, with many ties and duplicates."""
    draw = np.random.default_rng(seed)
    return draw.integers(-top, top + 1, (n, d)), draw.integers(-top, top + 1, (m, d))


def brute_force(texts, images, item):
    """(better, equal) of both directions, from the whole table of scores."""
    scores = texts @ images.T
    n, m = scores.shape
    own = scores[np.arange(n), item]
    by_text = (scores > own[:, None]).sum(1), (scores == own[:, None]).sum(1) - 1
    better, equal = np.zeros(m, np.int64), np.zeros(m, np.int64)
    known = np.isin(np.arange(m), item)
    for image in np.flatnonzero(known):
        mine = item == image
        best = scores[mine, image].max()
        better[image] = (scores[~mine, image] > best).sum()
        equal[image] = (scores[~mine, image] == best).sum()
    return by_text, (better, equal), known


def check_equals(found, wanted):
    by_text, by_image, known = wanted
    assert np.array_equal(found.text_to_image.better, by_text[0])
    assert np.array_equal(found.text_to_image.equal, by_text[1])
    assert found.text_to_image.known.all()
    assert np.array_equal(found.image_to_text.known, known)
    assert np.array_equal(found.image_to_text.better[known], by_image[0][known])
    assert np.array_equal(found.image_to_text.equal[known], by_image[1][known])
    assert by_text[1].max() > 0 < by_image[1].max()  # there are ties


def ranked(texts, images, item=None, **options):
    given = None if item is None else torch.as_tensor(item)
    return retrieval_ranks(torch.as_tensor(texts), torch.as_tensor(images), given, **options)


def test_by_hand():
    """Text 0 finds its image first; text 1 scores images 0 and 1 alike; text 2 finds its image last."""
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    texts = torch.tensor([[1.0, 0.0], [0.5, 0.5], [1.0, 0.1]])
    found = retrieval_ranks(texts, images)
    assert found.text_to_image.ranks().tolist() == [1, 2, 3]
    assert found.text_to_image.ranks("optimistic").tolist() == [1, 1, 3]
    assert found.text_to_image.ranks("mean").tolist() == [1, 1.5, 3]
    # image 0 scores (1, .5, 1): text 2 is as high; image 1 (0, .5, .1); image 2 (-1, -.5, -1): text 1 above, 0 as high
    assert found.image_to_text.ranks().tolist() == [2, 1, 3]
    assert found.image_to_text.ranks("mean").tolist() == [1.5, 1, 2.5]


@pytest.mark.parametrize("n, m", [(5, 5), (40, 17), (17, 40), (1, 3)])
@pytest.mark.parametrize("block", [1, 3, 16, 64, None])
def test_equals_brute_force_with_several_captions_per_image(n, m, block):
    texts, images = whole_numbers(n, m, d=3, top=1, seed=n)
    item = np.random.default_rng(1).integers(0, m, n)
    wanted = brute_force(texts, images, item)
    found = ranked(texts, images, item, block=block)
    for part, (better, equal) in ((found.text_to_image, wanted[0]), (found.image_to_text, wanted[1])):
        known = part.known.numpy()
        assert np.array_equal(part.better.numpy()[known], better[known])
        assert np.array_equal(part.equal.numpy()[known], equal[known])
    assert np.array_equal(found.image_to_text.known, wanted[2])
    assert found.image_to_text.ranks().isnan().tolist() == (~wanted[2]).tolist()


def test_equals_brute_force_on_5000_by_5000():
    texts, images = whole_numbers(5000, 5000, d=16)
    images[4000:] = images[:1000]  # pictures that are there twice
    texts[4500:] = texts[0]  # a caption that is said of all
    check_equals(ranked(texts, images), brute_force(texts, images, np.arange(5000)))


def test_real_features_rank_as_in_float64_whatever_the_block():
    """Differences far below float32's rounding count, and no block or order of adding turns them."""
    draw = torch.Generator().manual_seed(0)
    base = torch.nn.functional.normalize(torch.randn(1, 64, generator=draw), dim=-1)
    texts = torch.nn.functional.normalize(base + 1e-4 * torch.randn(300, 64, generator=draw), dim=-1)
    images = torch.nn.functional.normalize(base + 1e-4 * torch.randn(200, 64, generator=draw), dim=-1)
    item = torch.arange(300) % 200
    exact = texts.double() @ images.double().T
    own = exact[torch.arange(300), item][:, None]
    others = torch.ones(300, 200, dtype=torch.bool).scatter_(1, item[:, None], False)
    wanted = ((exact > own) & others).sum(1)
    rough = texts @ images.T
    assert not torch.equal((rough > rough[torch.arange(300), item][:, None]).sum(1), wanted)  # float32 would not do
    found = [retrieval_ranks(texts, images, item, block=block) for block in (37, 64, 300, None)]
    for ranks in found:
        assert torch.equal(ranks.text_to_image.better, wanted)
        assert torch.equal(ranks.image_to_text.better, found[0].image_to_text.better)
        assert torch.equal(ranks.image_to_text.equal, found[0].image_to_text.equal)


def test_duplicates_do_not_change_by_order():
    draw = torch.Generator().manual_seed(3)
    images = torch.nn.functional.normalize(torch.randn(40, 32, generator=draw), dim=-1)
    texts = torch.nn.functional.normalize(images + 0.5 * torch.randn(40, 32, generator=draw), dim=-1)
    images[20:] = images[:20]
    texts[30:] = texts[:10]
    whole = retrieval_ranks(texts, images)
    assert (whole.text_to_image.equal == 1).all()
    assert (whole.image_to_text.equal[:10] >= 1).all()
    for seed in range(3):
        order, moved = (torch.randperm(40, generator=torch.Generator().manual_seed(s)) for s in (seed, seed + 9))
        back = torch.argsort(moved)
        found = retrieval_ranks(texts[order], images[moved], back[order], block=16)
        for ties in ("pessimistic", "mean", "optimistic"):
            assert torch.equal(found.text_to_image.ranks(ties), whole.text_to_image.ranks(ties)[order])
            assert torch.equal(found.image_to_text.ranks(ties), whole.image_to_text.ranks(ties)[moved])


def test_a_caption_for_all_images_tells_nothing():
    images = torch.nn.functional.normalize(torch.randn(30, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    texts = images[:1].expand(30, 8)
    found = retrieval_ranks(texts, images, block=7)
    assert found.image_to_text.ranks().tolist() == [30.0] * 30
    assert found.image_to_text.ranks("optimistic").tolist() == [1.0] * 30
    assert sorted(found.text_to_image.ranks().tolist()) == list(range(1, 31))


def test_summary_by_hand():
    found = summary(torch.tensor([1.0, 2, 4, 11, 60, float("nan")]))
    assert found == {
        "r1": 0.2,
        "r5": 0.6,
        "r10": 0.6,
        "r50": 0.8,
        "medr": 4.0,
        "meanr": 78 / 5,
        "mrr": pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 11 + 1 / 60) / 5, rel=1e-15),
    }
    assert summary(torch.tensor([1.0, 2, 5, 9]))["medr"] == 3.0  # the middle, 3.5, rounded down
    assert all(np.isnan(v) for v in summary(torch.tensor([])).values())


def test_norms_and_precision_of_the_input():
    """Ranks are by inner products: a text's norm is nothing to it, an image's is."""
    texts, images = (torch.as_tensor(x).float() for x in whole_numbers(20, 20, d=5))
    found = retrieval_ranks(texts, images)
    scaled = retrieval_ranks(4 * texts, images)
    assert torch.equal(found.text_to_image.ranks(), scaled.text_to_image.ranks())
    half = retrieval_ranks(texts.half(), images.bfloat16())
    assert torch.equal(found.image_to_text.ranks(), half.image_to_text.ranks())
    larger = retrieval_ranks(texts, torch.cat([images[:1] * 8, images[1:]]))
    assert not torch.equal(found.text_to_image.ranks(), larger.text_to_image.ranks())


def test_what_cannot_be_ranked_is_refused():
    two, three = torch.ones(2, 4), torch.ones(3, 4)
    for given, sentence in (
        ((two, three), "2 texts and 3 images; give item, the image of each text"),
        ((two, torch.ones(2, 5)), r"found \[2, 4\] and \[2, 5\]"),
        ((two, three, torch.tensor([0, 3])), "the number of one of 3 images"),
        ((two, three, torch.tensor([0])), "item needs for each of 2 texts"),
        ((two, two * float("nan")), "some features are no numbers"),
    ):
        with pytest.raises(InputError, match=sentence):
            retrieval_ranks(*given)
    with pytest.raises(InputError, match="ties='x' is none of pessimistic, mean, optimistic"):
        retrieval_ranks(two, two).text_to_image.ranks("x")


def test_nothing_to_rank():
    found = retrieval_ranks(torch.zeros(0, 4), torch.ones(3, 4), torch.zeros(0, dtype=torch.int64))
    assert isinstance(found, Ranks)
    assert isinstance(found.image_to_text, Standing)
    assert found.text_to_image.ranks().shape == (0,)
    assert found.image_to_text.ranks().isnan().all()


def test_progress_tells_of_every_row():
    told = []
    texts, images = whole_numbers(10, 10)
    ranked(texts, images, block=4, progress=lambda *step: told.append(step))
    assert told == [("ranks", 4, 10), ("ranks", 8, 10), ("ranks", 10, 10)]
    assert all(a[1] < b[1] for a, b in itertools.pairwise(told))
