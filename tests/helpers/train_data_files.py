"""Small training sets written for the tests: pictures that differ, captions of any number, shards of both layouts."""

from __future__ import annotations

import json

import numpy as np
from image_files import encoded, write_tar
from PIL import Image

from capreward.encoders.store.header import StoreHeader
from capreward.encoders.store.writer import StoreWriter


def picture(number, width=40, height=30):
    """A picture of its own for every number."""
    noise = np.random.default_rng(number).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(number, **options):
    return encoded(picture(number, **options), "JPEG", quality=90)


def caption(number, which=0):
    return f"picture {number} in words {which}"


def captions_of(number, count=5):
    return [caption(number, which) for which in range(count)]


def dico_members(numbers, counts=None):
    for n in numbers:
        yield f"k{n:03d}.jpg", jpeg(n)
        yield f"k{n:03d}.json", json.dumps(captions_of(n, (counts or {}).get(n, 5))).encode()


def dico_shards(folder, sizes, name="d"):
    """Shards of so many pictures each; the numbers run through."""
    start = 0
    for shard, size in enumerate(sizes):
        write_tar(folder / f"{name}-{shard:03d}.tar", dico_members(range(start, start + size)))
        start += size
    return f"{folder}/{name}-{{000..{len(sizes) - 1:03d}}}.tar"


def photo_folder(folder, numbers):
    folder.mkdir(exist_ok=True)
    for n in numbers:
        (folder / f"{n}.jpg").write_bytes(jpeg(n))
    return folder


def stored(folder, keys, features):
    """A feature store."""
    header = StoreHeader(kind="image", encoder={"model": "tiny", "sha": "0" * 12}, shape=tuple(features.shape[1:]))
    StoreWriter(folder, header).write(keys, features)
    return folder
