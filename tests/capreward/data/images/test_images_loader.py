"""Batches in order, the same with any number of workers, and what happens to broken pictures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from multiprocessing import active_children

import numpy as np
import pytest
import torch
from image_files import encoded, noise, smooth
from PIL import Image

from capreward.data.images.crop_loader import Loader
from capreward.data.images.picture_types import ArrayPicture, BytesPicture, FilePicture, PilPicture
from capreward.data.images.preprocessing import prepare
from capreward.encoders.spec import Preprocessing
from capreward.errors import InputError, ProgramError

SMALL = Preprocessing(size=16)


def pictures(count):
    return [BytesPicture(encoded(Image.new("RGB", (20, 20), (i % 256, 7, 9))), f"picture {i}") for i in range(count)]


def gathered(loader):
    """All indices and pixels, after a look at the batch sizes."""
    batches = list(loader)
    assert all(pixels.dtype == torch.uint8 and pixels.shape[1:] == (16, 16, 3) for _, pixels in batches)
    assert all(len(indices) == len(pixels) for indices, pixels in batches)
    sizes = [len(indices) for indices, _ in batches]
    assert set(sizes[:-1]) <= {loader.batch_size}
    assert not sizes or 1 <= sizes[-1] <= loader.batch_size
    flat = [i for indices, _ in batches for i in indices]
    return flat, [int(v) for _, pixels in batches for v in pixels[:, 0, 0, 0]]


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("count, batch_size", [(0, 4), (1, 4), (70, 7), (70, 16), (70, 1000), (64, 32), (33, 1)])
def test_batches_are_whole_and_in_order(count, batch_size, workers):
    indices, reds = gathered(Loader(pictures(count), SMALL, batch_size=batch_size, workers=workers))
    assert indices == list(range(count))
    assert reds == list(range(count))


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_give_the_same_bits(shared_data, method):
    paths = sorted((shared_data / "coco_photos" / "images").glob("*.jpg"))[:20]
    listed = [FilePicture(str(path)) for path in paths]
    listed += [PilPicture(smooth(50, 30)), ArrayPicture(torch.rand(3, 40, 30)), ArrayPicture(noise(30, 40))]
    expected = np.stack([prepare(picture, Preprocessing()) for picture in listed])
    here = torch.cat([p for _, p in Loader(listed, Preprocessing(), batch_size=8, workers=0)])
    there = torch.cat([p for _, p in Loader(listed, Preprocessing(), batch_size=8, workers=2, start_method=method)])
    assert np.array_equal(here.numpy(), expected)
    assert torch.equal(here, there)


def test_batches_stay_as_they_were_yielded():
    batches = list(Loader(pictures(12), SMALL, batch_size=4, workers=0))
    assert [pixels[:, 3, 3, 0].tolist() for _, pixels in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@pytest.mark.parametrize("workers", [0, 2])
def test_no_random_number_is_drawn(workers):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    assert len(list(Loader(pictures(40), SMALL, batch_size=40, workers=workers))) == 1
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_pictures_are_left_out_and_listed(workers):
    listed = pictures(60)
    for i in (0, 17, 18, 59):
        listed[i] = BytesPicture(b"", f"picture {i}")
    loader = Loader(listed, SMALL, batch_size=8, workers=workers, skip_broken=True)
    for _ in range(2):
        indices, reds = gathered(loader)
        assert indices == reds == [i for i in range(60) if i not in (0, 17, 18, 59)]
        assert loader.broken == [(i, f"picture {i} is empty (0 bytes)") for i in (0, 17, 18, 59)]


def test_all_pictures_broken():
    loader = Loader([BytesPicture(b"", f"p{i}") for i in range(40)], SMALL, batch_size=8, workers=0, skip_broken=True)
    assert gathered(loader) == ([], [])
    assert len(loader.broken) == 40


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_pictures_stop_it_in_one_sentence(workers):
    listed = pictures(60)
    for i in (20, 33, 58, 59):
        listed[i] = BytesPicture(b"", f"picture {i}")
    seen = []
    loader = Loader(listed, SMALL, batch_size=4, workers=workers)
    with pytest.raises(InputError) as told:
        seen.extend(i for indices, _ in loader for i in indices)
    assert str(told.value) == (
        "4 of 60 pictures are broken: picture 20 is empty (0 bytes), picture 33 is empty (0 bytes), picture 58 is "
        "empty (0 bytes) and 1 more; mend them, or leave them out with --skip-broken"
    )
    assert seen == list(range(len(seen)))
    assert 8 <= len(seen) < 20
    assert [i for i, _ in loader.broken] == [20, 33, 58, 59]


def test_one_broken_picture():
    with pytest.raises(InputError) as told:
        list(Loader([BytesPicture(b"", "a.jpg")], SMALL, batch_size=4))
    assert str(told.value) == (
        "the picture is broken: a.jpg is empty (0 bytes); mend it, or leave it out with --skip-broken"
    )


def test_the_search_for_more_broken_pictures_ends():
    listed = [BytesPicture(b"", "bad"), *pictures(1500)]
    with pytest.raises(
        InputError, match=r"^at least 1 of 1,501 pictures \(1,008 were looked at\) is broken: bad is empty"
    ):
        list(Loader(listed, SMALL, batch_size=4, workers=0))


def test_the_number_of_workers_is_chosen(monkeypatch):
    def chosen(count, cores):
        monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)), raising=False)
        return Loader(pictures(1) * count, SMALL, batch_size=1).workers

    assert [chosen(n, 4) for n in (0, 31, 32, 1000)] == [0, 0, 4, 4]
    assert [chosen(1000, cores) for cores in (1, 2, 8, 64)] == [0, 2, 8, 8]
    assert Loader(pictures(1), SMALL, batch_size=1, workers=5).workers == 5


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 1, "workers": -1}])
def test_wrong_numbers_are_refused(options):
    with pytest.raises(InputError, match="batch_size >= 1 and workers >= 0"):
        Loader(pictures(1), SMALL, **options)


class Deadly:
    key = 0

    def open(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_told():
    with pytest.raises(ProgramError, match="a process that decodes pictures ended before its work"):
        list(Loader([Deadly()], SMALL, batch_size=1, workers=1))


def children(pid):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


def test_leaving_early_ends_the_workers():
    before = set(active_children())
    for indices, _ in Loader(pictures(500), SMALL, batch_size=4, workers=2):
        assert indices == [0, 1, 2, 3]
        assert len(set(active_children()) - before) == 2
        break
    assert set(active_children()) == before


def test_a_kept_error_keeps_no_workers():
    before = set(active_children())
    listed = [*pictures(40), BytesPicture(b"", "bad"), *pictures(2000)]
    with pytest.raises(InputError, match="^at least 1 of 2,041 pictures") as kept:
        list(Loader(listed, SMALL, batch_size=4, workers=2))
    assert kept.tb is not None
    assert set(active_children()) == before


SCRIPT = """
    import os, sys, time
    from capreward.data.images.crop_loader import Loader
    from capreward.encoders.spec import Preprocessing
    from PIL import Image

    class Slow:
        key = 0
        def open(self):
            time.sleep(0.05)
            return Image.new("RGB", (8, 8))

    def main():
        try:
            for indices, _ in Loader([Slow()] * 10_000, Preprocessing(size=8), batch_size=2, workers=2):
                print("at work", flush=True)
        except KeyboardInterrupt:
            print("stopped", flush=True)
            sys.exit(130)

    if __name__ == "__main__":
        main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_process_behind(tmp_path, sent):
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(SCRIPT))
    run = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert run.stdout.readline() == "at work\n"
    workers = children(run.pid)
    assert len(workers) >= 2
    if sent == signal.SIGINT:
        os.killpg(run.pid, sent)  # as the terminal does
        out, err = run.communicate(timeout=20)
        assert run.returncode == 130
        assert out.endswith("stopped\n")
        assert "Traceback" not in err
    else:
        run.kill()
        run.communicate(timeout=20)
    ends = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}") for pid in workers) and time.monotonic() < ends:
        time.sleep(0.1)
    assert [pid for pid in workers if os.path.exists(f"/proc/{pid}")] == []
