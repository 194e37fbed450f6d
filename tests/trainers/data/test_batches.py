"""Training batches: their order, their slices, resuming at any place, workers, broken samples, shared crops."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import numpy as np
import pytest
import torch
from image_files import encoded, write_tar
from train_data_files import captions_of, dico_shards, jpeg, photo_folder, picture, stored

from capreward.data.images.picture_types import DecodedPicture, ShardPicture, as_picture
from capreward.data.images.preprocessing import prepare
from capreward.encoders.spec import Preprocessing
from capreward.errors import InputError
from trainers.data import Batches, open_dataset, ordered
from trainers.data.item_order import permutation

SMALL = Preprocessing(size=8)
OTHER = Preprocessing(size=12, interpolation="bilinear", resize="squash")


@pytest.fixture
def data(tmp_path):
    return open_dataset(dico_shards(tmp_path, [4, 3, 4]))  # 11 items


def take(batches, count):
    return list(itertools.islice(batches, count))


def keys_of(batches):
    return [key for batch in batches for key in batch.keys]


def same(a, b):
    assert (a.keys, a.captions, a.broken, a.epoch, a.position) == (b.keys, b.captions, b.broken, b.epoch, b.position)
    assert [str(p) for p in a.pictures] == [str(p) for p in b.pictures]
    for one, other in ((a.pixels, b.pixels), (a.features, b.features)):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)
    return True


# Order

GOLDEN = (
    [3, 2, 1, 8, 6, 0, 7, 4, 5, 9],
    [7, 4, 5, 1, 9, 8, 6, 2, 0, 3],
    [9, 2, 4, 7, 5, 0, 8, 6, 3, 1],
)


def test_permutations_are_those_of_always():
    assert permutation(10, 0, 0).tolist() == GOLDEN[0]
    assert permutation(10, 0, 1).tolist() == GOLDEN[1]
    assert permutation(10, 1, 0).tolist() == GOLDEN[2]
    assert sorted(permutation(1000, 5, 2).tolist()) == list(range(1000))


def test_every_item_once_an_epoch_and_every_batch_full(data):
    batches = take(Batches(data, SMALL, batch_size=4, seed=3), 11)  # four epochs in eleven batches
    assert [len(b) for b in batches] == [4] * 11
    seen = keys_of(batches)
    for epoch in range(4):
        expected = [data.keys[i] for i in permutation(11, 3, epoch)]
        assert seen[11 * epoch : 11 * (epoch + 1)] == expected
    assert len({tuple(seen[11 * e : 11 * (e + 1)]) for e in range(4)}) == 4
    assert [(b.epoch, b.position) for b in batches[:4]] == [(0, 0), (0, 4), (0, 8), (1, 1)]


def test_a_batch_holds_what_its_keys_say(data):
    batch = take(Batches(data, SMALL, batch_size=5, seed=0), 2)[1]
    numbers = [int(key[1:]) for key in batch.keys]
    assert batch.captions == [tuple(captions_of(n)) for n in numbers]
    assert batch.pixels.dtype == torch.uint8
    assert batch.pixels.shape == (5, 8, 8, 3)
    for n, shown, crop in zip(numbers, batch.pictures, batch.pixels, strict=True):
        assert isinstance(shown, ShardPicture)
        assert np.array_equal(crop.numpy(), prepare(as_picture(jpeg(n)), SMALL))
    assert batch.features is None
    assert batch.broken == []


def test_batches_larger_than_the_set(data):
    batch = take(Batches(data, None, batch_size=30, seed=1), 2)[1]
    assert (batch.epoch, batch.position) == (2, 8)
    order = [data.keys[i] for e in range(6) for i in permutation(11, 1, e)]
    assert batch.keys == order[30:60]
    assert batch.pixels is None


def test_ranks_together_see_what_one_rank_sees(data):
    alone = take(Batches(data, SMALL, batch_size=6, seed=3), 5)
    parts = [take(Batches(data, SMALL, batch_size=2, seed=3, rank=r, world=3), 5) for r in range(3)]
    for step, whole in enumerate(alone):
        pieces = [parts[r][step] for r in range(3)]
        assert keys_of(pieces) == whole.keys
        assert torch.equal(torch.cat([p.pixels for p in pieces]), whole.pixels)
        assert [(p.epoch, p.position) for p in pieces] == [
            divmod(step * 6 + 2 * r, 11) for r in range(3)
        ]  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(data, workers):
    state = torch.get_rng_state()
    alone = take(Batches(data, SMALL, batch_size=3, seed=3, also=[OTHER]), 9)
    helped = take(Batches(data, SMALL, batch_size=3, seed=3, also=[OTHER], workers=workers), 9)
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))
    for a, b in zip(alone, helped, strict=True):
        for one, other in zip(a.pictures, b.pictures, strict=True):
            assert np.array_equal(one.crop(OTHER), other.crop(OTHER))
    assert torch.equal(torch.get_rng_state(), state)
    assert helped[0].pixels.add_(1).shape == (3, 8, 8, 3)  # may be written


# Resuming


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_at_any_position(data, workers):
    whole = take(Batches(data, SMALL, batch_size=4, seed=9), 9)
    for position in range(0, 8, 1 if workers == 0 else 3):
        stopped = Batches(data, SMALL, batch_size=4, seed=9, workers=workers)
        take(stopped, position)
        state = json.loads(json.dumps(stopped.state_dict()))
        again = Batches(data, SMALL, batch_size=4, seed=9, workers=2 - workers)
        again.load_state_dict(state)
        assert same(take(again, 1)[0], whole[position])
        assert same(take(again, 1)[0], whole[position + 1])  # a new iterator goes on
        assert again.state_dict()["batches"] == position + 2


def test_the_state_counts_what_was_taken_not_what_was_read_ahead(data):
    batches = Batches(data, SMALL, batch_size=2, seed=0, workers=2)
    walk = iter(batches)
    assert batches.state_dict()["batches"] == 0
    for number in range(1, 4):
        next(walk)
        assert batches.state_dict()["batches"] == number
    walk.close()


def test_ranks_may_change_on_resuming(data):
    whole = take(Batches(data, SMALL, batch_size=6, seed=3), 4)
    first = Batches(data, SMALL, batch_size=6, seed=3)
    take(first, 2)
    parts = [Batches(data, SMALL, batch_size=3, seed=3, rank=r, world=2) for r in range(2)]
    for part in parts:
        part.load_state_dict(first.state_dict())
    pieces = [take(part, 1)[0] for part in parts]
    assert keys_of(pieces) == whole[2].keys


def test_a_state_of_another_run_is_refused(data, tmp_path):
    state = Batches(data, SMALL, batch_size=4, seed=9).state_dict()

    def refuses(match, dataset=data, **options):
        batches = Batches(dataset, SMALL, **{"batch_size": 4, "seed": 9, **options})
        with pytest.raises(InputError, match=match):
            batches.load_state_dict(state)

    refuses(r"the checkpoint has the seed 9, this run 8; give --seed 9", seed=8)
    refuses(r"takes 4 pictures per step over all processes, this run 8", world=2)
    refuses(r"has other items or captions", open_dataset(dico_shards(tmp_path, [4, 3], "e")))
    for wrong in ({"batch_size": 0}, {"rank": 1}, {"workers": -1}, {"seed": -1}):
        with pytest.raises(InputError, match="batch_size >= 1|seed must be 0 or more"):
            Batches(data, SMALL, **{"batch_size": 1, "seed": 0, **wrong})


# Broken samples


def broken_set(tmp_path, broken):
    photos = photo_folder(tmp_path / "photos", range(8))
    for n in broken:
        (photos / f"{n}.jpg").write_bytes(jpeg(n)[:300])
    (tmp_path / "c.json").write_text(json.dumps({f"{n}": captions_of(n) for n in range(8)}))
    return open_dataset(str(tmp_path / "c.json"), images=str(photos))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_sample_is_replaced_by_the_next_good_one(tmp_path, workers):
    data = broken_set(tmp_path, [3, 4, 7])
    stand_in = {"3": "5", "4": "5", "7": "0"}
    batches = take(Batches(data, SMALL, batch_size=4, seed=0, workers=workers), 2)
    wanted = [data.keys[i] for i in permutation(8, 0, 0)]
    assert keys_of(batches) == [stand_in.get(key, key) for key in wanted]
    assert Counter(keys_of(batches))["5"] == 3
    for batch, asked in zip(batches, (wanted[:4], wanted[4:]), strict=True):
        named = [key for key in asked if key in stand_in]
        assert [sentence.partition(".jpg is damaged: ")[0][-1] for sentence in batch.broken] == named
        for key, said, crop in zip(batch.keys, batch.captions, batch.pixels, strict=True):
            assert said == tuple(captions_of(int(key)))
            assert np.array_equal(crop.numpy(), prepare(as_picture(jpeg(int(key))), SMALL))


def test_a_picture_that_vanished_is_broken_too(tmp_path):
    data = broken_set(tmp_path, [])
    (tmp_path / "photos" / "2.jpg").unlink()
    sentences = [s for batch in take(Batches(data, SMALL, batch_size=8, seed=0), 3) for s in batch.broken]
    assert sentences == [f"{tmp_path}/photos/2.jpg does not exist"] * 3


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_broken_samples_is_refused(tmp_path, workers):
    data = broken_set(tmp_path, range(8))
    with pytest.raises(InputError, match=r"^8 samples of .*c\.json in a row cannot be read; the first: .*\.jpg is dam"):
        take(Batches(data, SMALL, batch_size=4, seed=0, workers=workers), 1)
    with pytest.raises(InputError, match=r"no sample of .*c\.json can be read; the first: .*0\.jpg is damaged"):
        list(ordered(data, SMALL, batch_size=3, workers=workers))


# One pass in order


@pytest.mark.parametrize("workers", [0, 2])
def test_one_pass_in_order(data, workers):
    batches = list(ordered(data, SMALL, batch_size=4, workers=workers))
    assert [b.keys for b in batches] == [data.keys[:4], data.keys[4:8], data.keys[8:]]
    assert [b.position for b in batches] == [0, 4, 8]
    assert batches[2].pixels.shape == (3, 8, 8, 3)
    assert keys_of(ordered(data, SMALL, batch_size=4, limit=6)) == data.keys[:6]
    assert keys_of(ordered(data, SMALL, batch_size=4, limit=60)) == data.keys
    parts = [list(ordered(data, SMALL, batch_size=2, rank=r, world=3)) for r in range(3)]
    assert [[b.keys for b in part] for part in parts] == [
        [data.keys[0:2], data.keys[6:8]], [data.keys[2:4], data.keys[8:10]], [data.keys[4:6], data.keys[10:11]]
    ]  # fmt: skip
    with pytest.raises(InputError, match="limit must be 1 or more"):
        ordered(data, SMALL, batch_size=4, limit=0)


def test_one_pass_leaves_broken_samples_out_and_names_them(tmp_path):
    data = broken_set(tmp_path, [0, 1, 3, 6, 7])
    batches = list(ordered(data, SMALL, batch_size=2))
    assert [b.keys for b in batches] == [["2"], ["4", "5"]]
    named = [[sentence.partition(".jpg is damaged")[0][-1] for sentence in b.broken] for b in batches]
    assert named == [["0", "1", "3"], ["6", "7"]]
    assert [len(b.pixels) for b in batches] == [1, 2]


# Features


@pytest.mark.parametrize("workers", [0, 1])
def test_stored_features(tmp_path, workers):
    features = torch.arange(5 * 3 * 2, dtype=torch.float32).reshape(5, 3, 2)
    store = stored(tmp_path / "s", [f"{n}" for n in range(5)], features)
    (tmp_path / "c.json").write_text(json.dumps({f"{n}": captions_of(n) for n in range(5)}))
    data = open_dataset(str(tmp_path / "c.json"), images=str(store))
    batch = take(Batches(data, SMALL, batch_size=4, seed=2, workers=workers, also=[OTHER]), 1)[0]
    assert batch.pixels is None
    assert batch.features.dtype == torch.float32
    assert torch.equal(batch.features, features[[int(key) for key in batch.keys]])
    assert all(torch.equal(p.feature(), f) for p, f in zip(batch.pictures, batch.features, strict=True))
    one = next(iter(ordered(data, None, batch_size=2)))
    assert torch.equal(one.features, features[:2])


# Crops that rewards share


def test_pictures_bring_the_crops_that_were_asked_for(data, monkeypatch):
    mean_alone = Preprocessing(size=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    opened = Counter()
    real = ShardPicture.open

    def counting(self):
        opened[self.name] += 1
        return real(self)

    monkeypatch.setattr(ShardPicture, "open", counting)
    batch = take(Batches(data, SMALL, batch_size=11, seed=0, also=[OTHER, mean_alone]), 1)[0]
    assert set(opened.values()) == {1}
    for shown, pixels in zip(batch.pictures, batch.pixels, strict=True):
        assert isinstance(shown, DecodedPicture)
        n = int(str(shown)[1:4])
        assert shown.key == shown.picture.key
        plain = as_picture(jpeg(n))
        for wanted in (OTHER, mean_alone, SMALL):
            assert np.array_equal(prepare(shown, wanted), prepare(plain, wanted))
        assert np.shares_memory(shown.crop(mean_alone), pixels.numpy())
    assert set(opened.values()) == {1}
    others = {"size": 9, "interpolation": "bilinear", "resize": "squash", "decode": "original"}
    for changes in ({name: value} for name, value in {**others, "cropping": "transformers"}.items()):
        assert batch.pictures[0].crop(Preprocessing(**{"size": 8, **changes})) is None
    assert np.array_equal(
        prepare(batch.pictures[0], Preprocessing(size=9)),
        prepare(batch.pictures[0].picture, Preprocessing(size=9)),
    )


def test_crops_of_two_kinds_of_decoding(tmp_path):
    from image_files import with_orientation

    turned = with_orientation(picture(1), 6)
    data = open_dataset(str(write_tar(tmp_path / "x.tar", [("a.jpg", turned), ("a.txt", b"c")])))
    original = Preprocessing(size=8, decode="original")
    shown = take(Batches(data, SMALL, batch_size=1, seed=0, also=[original, SMALL]), 1)[0]
    plain = as_picture(turned)
    assert np.array_equal(shown.pixels[0].numpy(), prepare(plain, SMALL))
    assert np.array_equal(shown.pictures[0].crop(original), prepare(plain, original))
    assert not np.array_equal(prepare(plain, SMALL), prepare(plain, original))


def test_odd_pictures_are_batches_too(tmp_path):
    modes = [encoded(picture(n).convert(mode), "PNG") for n, mode in enumerate(("L", "P", "RGBA", "1", "I;16"))]
    members = [m for n, raw in enumerate(modes) for m in ((f"{n}.png", raw), (f"{n}.txt", b"c"))]
    data = open_dataset(str(write_tar(tmp_path / "x.tar", members)))
    batch = next(iter(ordered(data, SMALL, batch_size=9, also=[OTHER])))
    assert len(batch) == 5
    assert batch.broken == []
    for raw, crop, shown in zip(modes, batch.pixels, batch.pictures, strict=True):
        assert np.array_equal(crop.numpy(), prepare(as_picture(raw), SMALL))
        assert np.array_equal(shown.crop(OTHER), prepare(as_picture(raw), OTHER))
