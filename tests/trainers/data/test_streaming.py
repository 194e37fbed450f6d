"""Remote shards: streamed through commands and addresses, dealt to ranks and workers, shuffled by seed and epoch."""

from __future__ import annotations

import functools
import http.server
import itertools
import pickle
import threading

import numpy as np
import pytest
from image_files import write_tar
from train_data_files import captions_of, dico_members, dico_shards, jpeg

from capreward.data.images.picture_types import DecodedPicture, as_picture
from capreward.data.images.preprocessing import prepare
from capreward.encoders.spec import Preprocessing
from capreward.errors import InputError
from trainers.data import Batches, open_dataset, ordered, remote_shards
from trainers.data.sample_reader import Crops

SMALL = Preprocessing(size=8)


@pytest.fixture
def source(tmp_path):
    return "pipe:cat " + dico_shards(tmp_path, [5, 4, 3, 4])  # 16 items


def take(batches, count):
    return list(itertools.islice(batches, count))


def keys_of(batches):
    return [key for batch in batches for key in batch.keys]


NUMBERS = [f"k{n:03d}" for n in range(16)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_shows_every_sample_once_an_epoch(source, workers):
    data = open_dataset(source)
    assert "a resumed run begins another epoch" in data.notes[0]
    batches = take(Batches(data, SMALL, batch_size=8, seed=1, workers=workers, also=[SMALL]), 4)
    seen = keys_of(batches)
    if not workers:
        assert sorted(seen[:16]) == NUMBERS
        assert sorted(seen[16:]) == NUMBERS
        assert seen[:16] != seen[16:]
        assert [(b.epoch, b.position) for b in batches] == [(0, 0), (0, 8), (1, 0), (1, 8)]
    for batch in batches:
        assert batch.broken == []
        for key, said, pixels, shown in zip(batch.keys, batch.captions, batch.pixels, batch.pictures, strict=True):
            assert said == tuple(captions_of(int(key[1:])))
            wanted = prepare(as_picture(jpeg(int(key[1:]))), SMALL)
            assert np.array_equal(pixels.numpy(), wanted)
            assert isinstance(shown, DecodedPicture)
            assert shown.open().size == (40, 30)
    again = take(Batches(open_dataset(source), SMALL, batch_size=8, seed=1, workers=workers), 4)
    assert keys_of(again) == seen
    other = take(Batches(data, SMALL, batch_size=8, seed=2), 2)
    assert keys_of(other) != seen[:16]


def test_workers_share_the_shards(source):
    batches = take(Batches(open_dataset(source), SMALL, batch_size=1, seed=1, workers=2), 40)
    assert sorted(key for b in batches if b.epoch == 0 for key in b.keys) == NUMBERS


def test_what_workers_are_given_pickles(source):
    share = remote_shards._Share(open_dataset(source), 1, 0, 1, 0)
    tasks = remote_shards._iterable(remote_shards._Tasks(share, Crops([SMALL]), 3))
    again = pickle.loads(pickle.dumps(tasks))
    assert next(iter(again)).keys == next(iter(tasks)).keys


def test_ranks_share_the_shards(source):
    data = open_dataset(source)
    parts = [take(Batches(data, SMALL, batch_size=1, seed=1, rank=r, world=2), 20) for r in range(2)]
    first = [{key for b in part if b.epoch == 0 for key in b.keys} for part in parts]
    assert not first[0] & first[1]
    assert sorted(first[0] | first[1]) == NUMBERS
    with pytest.raises(InputError, match=r"is 4 shards for 5 processes; each needs one at least"):
        take(Batches(data, SMALL, batch_size=1, seed=1, world=5), 1)


def test_resuming_begins_the_next_epoch(source):
    data = open_dataset(source)
    batches = Batches(data, SMALL, batch_size=8, seed=1)
    seen = keys_of(take(batches, 4))
    stopped = Batches(data, SMALL, batch_size=8, seed=1)
    take(stopped, 1)
    again = Batches(data, SMALL, batch_size=8, seed=1)
    again.load_state_dict(stopped.state_dict())
    assert keys_of(take(again, 2)) == seen[16:]
    foreign = Batches(open_dataset(source.replace("003", "002")), SMALL, batch_size=8, seed=1)
    with pytest.raises(InputError, match="other items or captions"):
        foreign.load_state_dict(stopped.state_dict())


def test_one_pass_in_order(source):
    data = open_dataset(source)
    assert keys_of(ordered(data, SMALL, batch_size=3)) == NUMBERS
    assert keys_of(ordered(data, SMALL, batch_size=3, workers=2)) == NUMBERS
    assert keys_of(ordered(data, SMALL, batch_size=3, limit=7)) == NUMBERS[:7]
    parts = [list(ordered(data, SMALL, batch_size=3, rank=r, world=2)) for r in range(2)]
    assert [b.keys for b in parts[1]] == [NUMBERS[3:6], NUMBERS[9:12], NUMBERS[15:]]
    assert [b.position for b in parts[1]] == [3, 9, 15]
    assert sorted(keys_of(parts[0]) + keys_of(parts[1])) == NUMBERS


def test_what_is_broken_is_named(tmp_path):
    members = list(dico_members(range(4)))
    members[2] = ("k001.jpg", members[2][1][:300])
    members[5] = ("k002.json", b'[" "]')
    members += [("mute.jpg", jpeg(1)), ("unseen.txt", b"a"), ("odd.jpg", jpeg(1)), ("odd.json", b"[1")]
    path = write_tar(tmp_path / "x.tar", members)
    batches = list(ordered(open_dataset(f"pipe:cat {path}"), SMALL, batch_size=2))
    assert keys_of(batches) == ["k000", "k003"]
    sentences = "\n".join(s for b in batches for s in b.broken)
    for part in (
        "the sample k001 in pipe:cat", "is damaged", "k002 in pipe", "has no caption", "mute in pipe", "has no .txt or",
        "unseen in pipe", "has no picture", "the sample odd",
    ):  # fmt: skip
        assert part in sentences, part
    endless = take(Batches(open_dataset(f"pipe:cat {path}"), SMALL, batch_size=3, seed=0), 3)
    assert {*keys_of(endless)} == {"k000", "k003"}


@pytest.mark.parametrize("workers", [0, 1])
def test_streams_that_cannot_be_read(tmp_path, workers):
    def refuses(match, source):
        with pytest.raises(InputError, match=match):
            take(Batches(open_dataset(source), SMALL, batch_size=2, seed=0, workers=workers), 3)

    refuses(
        r"none\.tar 2>/dev/null cannot be streamed: (the command that reads it ended with status 1|empty file)$",
        f"pipe:cat {tmp_path}/none.tar 2>/dev/null",
    )
    empty = write_tar(tmp_path / "empty.tar", [("a.cls", b"1")])
    refuses(
        r"^100 samples of pipe:cat .*empty\.tar in a row cannot be read; the last: the sample a", f"pipe:cat {empty}"
    )
    nothing = write_tar(tmp_path / "nothing.tar", [])
    refuses(r"nothing\.tar has no sample of a picture with captions$", f"pipe:cat {nothing}")
    path = write_tar(tmp_path / "cut.tar", dico_members(range(4)))
    refuses(r"cut\.tar cannot be streamed: unexpected end of data$", f"pipe:head -c 700 {path}")


def test_what_a_stream_does_not_know(source):
    data = open_dataset(source)
    with pytest.raises(InputError, match=r"number of items is not known; say how long in steps"):
        len(data)
    with pytest.raises(InputError, match=r"knows no count"):
        open_dataset(source, count=3)
    with pytest.raises(InputError, match=r"is remote and holds its own pictures"):
        open_dataset(source, images="photos")
    with pytest.raises(InputError, match=r"knows no split"):
        open_dataset(source, split="train")
    assert "4 shards" in repr(data)


def test_over_http(tmp_path):
    pattern = dico_shards(tmp_path, [3, 2])
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *args: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/"
        data = open_dataset(pattern.replace(f"{tmp_path}/", address))
        assert keys_of(ordered(data, SMALL, batch_size=2)) == NUMBERS[:5]
        (tmp_path / "datasets.json").write_text(f'{{"far": "{address}d-{{000..001}}.tar"}}')
        assert keys_of(ordered(open_dataset(f"{tmp_path}/datasets.json:far"), SMALL, batch_size=2)) == NUMBERS[:5]
        with pytest.raises(InputError, match=rf"{address}none\.tar cannot be streamed"):
            list(ordered(open_dataset(f"{address}none.tar"), SMALL, batch_size=2))
    finally:
        server.shutdown()
        server.server_close()
