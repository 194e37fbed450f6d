"""The writing of training shards in DiCO's two layouts.

The same input gives the same bytes, and a stopped run goes on.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capreward.atomic_files import write_beside
from capreward.errors import InputError, shorten
from trainers.data.dataset import Dataset
from trainers.data.datasets_file import add_set, read_sets
from trainers.data.jpeg_pictures import Encoding, read_encoded, safe_keys
from trainers.data.pack_record import PackRecord

LAYOUTS = ("xe", "dico")
BLOCK = 1 << 20

Progress = Callable[[str, float, float], None]


@dataclass(frozen=True)
class Plan:
    """The settings of a set of shards.

    Attributes:
        folder: The folder of the shards.
        name: The name of the set: its shards are ``NAME-000.tar`` and so on.
        layout: ``xe`` writes one sample per caption, ``.jpg`` and ``.txt``; ``dico`` one per picture, ``.jpg`` and
            ``.json``.
        shard_size: The number of samples in a shard.
        resize: The greatest length of a picture's shorter side; None leaves pictures as they are.
        quality: The quality of JPEGs that are encoded again.
        skip_broken: Whether pictures that cannot be read are left out instead of refused.
        workers: The number of worker processes that decode.
    """

    folder: Path
    name: str
    layout: str = "dico"
    shard_size: int = 5000
    resize: int | None = None
    quality: int = 95
    skip_broken: bool = False
    workers: int = 0


@dataclass
class PackResult:
    """The result of a run that packs shards.

    Attributes:
        shards: The file names of all shards of the set.
        samples: The number of samples in the set.
        pictures: The number of pictures in the set, each counted once.
        captions: The number of captions in the set.
        kept: The number of shards that were complete already.
        left_out: One sentence for each broken picture that was left out.
        pattern: The brace pattern of the set.
    """

    shards: list[str]
    pattern: str
    samples: int = 0
    pictures: int = 0
    captions: int = 0
    kept: int = 0
    left_out: list[str] = field(default_factory=list)

    @property
    def written(self) -> int:
        """The number of shards that this run wrote."""
        return len(self.shards) - self.kept


@dataclass(frozen=True)
class Sample:
    """One sample of a shard.

    Attributes:
        item: The number of its item in the set.
        key: The key in the shard.
        captions: All captions of the item, or one of them.
        first: Whether it is the first of the item's samples.
    """

    item: int
    key: str
    captions: tuple[str, ...]
    first: bool = True


def pack(dataset: Dataset, plan: Plan, progress: Progress | None = None) -> PackResult:
    """Write a set of shards, or its missing shards, and name the set in ``datasets.json`` beside them.

    A shard is written beside its place and renamed, then recorded with its hash in ``NAME.pack.json``: an interrupted
    run loses one shard at most. A run keeps every recorded shard that is complete.

    Args:
        dataset: The items to write.
        plan: The settings of the set.
        progress: A function that is called as (what, done, total).

    Raises:
        InputError: There are shards of another set under that name, pictures are broken, or the disk refuses the files.
    """
    samples = Samples(dataset, plan.layout)
    ranges = [
        range(start, min(start + plan.shard_size, len(samples))) for start in range(0, len(samples), plan.shard_size)
    ]
    digits = max(3, len(str(len(ranges) - 1)))
    shards = [f"{plan.name}-{number:0{digits}d}.tar" for number in range(len(ranges))]
    if (plan.folder / "datasets.json").exists():
        read_sets(plan.folder / "datasets.json")  # refuse a file that is none before the work rather than after it
    record = PackRecord.begin(plan.folder, plan.name, settings_of(dataset, plan), shards)
    packed = PackResult(shards, pattern_of(plan.name, len(ranges), digits))
    for shard, numbers in zip(shards, ranges, strict=True):
        if record.is_whole(shard) and (plan.skip_broken or not record.shards[shard]["left_out"]):
            packed.kept += 1
        else:
            entry = _write_shard(
                plan, shard, [samples[n] for n in numbers], dataset, _progress_of_whole(progress, numbers, samples)
            )
            record.add(shard, entry)
        counts = record.shards[shard]
        packed.samples += counts["samples"]
        packed.pictures += counts["pictures"]
        packed.captions += counts["captions"]
        packed.left_out = list(dict.fromkeys([*packed.left_out, *counts["left_out"]]))
    if not packed.samples:
        raise InputError(f"every picture of {dataset.source} is broken: {shorten(packed.left_out)}")
    add_set(plan.folder / "datasets.json", plan.name, packed.pattern)
    return packed


class Samples:
    """The samples of a set by number.

    Args:
        dataset: The dataset of the items.
        layout: ``xe`` or ``dico``.
    """

    def __init__(self, dataset: Dataset, layout: str) -> None:
        self.dataset = dataset
        self.split = layout == "xe"
        self.keys = safe_keys(dataset.keys, unique=not self.split)
        # In the layout xe: the item that each sample comes from.
        self.owner = [i for i in range(len(dataset)) for _ in dataset.captions(i)] if self.split else []

    def __len__(self) -> int:
        return len(self.owner) if self.split else len(self.dataset)

    def __getitem__(self, number: int) -> Sample:
        if not self.split:
            return Sample(number, self.keys[number], self.dataset.captions(number))
        item = self.owner[number]
        first = number
        while first and self.owner[first - 1] == item:
            first -= 1
        caption = self.dataset.captions(item)[number - first]
        return Sample(item, f"{number}__{self.keys[item]}", (caption,), number == first)


def settings_of(dataset: Dataset, plan: Plan) -> dict[str, Any]:
    """Return the settings that the bytes of the shards depend on."""
    return {
        "data": dataset.fingerprint(),
        "layout": plan.layout,
        "shard_size": plan.shard_size,
        "resize": plan.resize,
        "quality": plan.quality,
    }


def pattern_of(name: str, shards: int, digits: int) -> str:
    """Return the brace pattern of a set; for a single shard its plain name."""
    if shards == 1:
        return f"{name}-{0:0{digits}d}.tar"
    return f"{name}-{{{0:0{digits}d}..{shards - 1:0{digits}d}}}.tar"


def _write_shard(
    plan: Plan,
    shard: str,
    samples: Sequence[Sample],
    dataset: Dataset,
    progress: Progress | None,
) -> dict[str, Any]:
    """Write a shard, and return its hash, size and counts."""
    broken: dict[int, str] = {}
    counts = {"size": 0, "samples": 0, "pictures": 0, "captions": 0}
    digest = hashlib.sha256()

    def write(beside: Path) -> None:
        with beside.open("wb") as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for number, (data, sample) in enumerate(_with_pictures(plan, dataset, samples, broken), 1):
                for ending, content in (("jpg", data), _captions_member(plan.layout, sample.captions)):
                    archive.addfile(_member(f"{sample.key}.{ending}", content), io.BytesIO(content))
                counts["samples"] += 1
                counts["pictures"] += sample.first
                counts["captions"] += len(sample.captions)
                if progress is not None:
                    progress(shard, number, len(samples))
        with beside.open("rb") as written:
            while block := written.read(BLOCK):
                digest.update(block)
                counts["size"] += len(block)

    write_beside(plan.folder / shard, write)
    return {"sha256": digest.hexdigest(), **counts, "left_out": list(broken.values())}


def _with_pictures(
    plan: Plan, dataset: Dataset, samples: Sequence[Sample], broken: dict[int, str]
) -> Iterator[tuple[bytes, Sample]]:
    """Yield each sample with its JPEG; note broken pictures or refuse them."""
    items = list(dict.fromkeys(sample.item for sample in samples))
    encoding = Encoding(plan.resize, plan.quality)
    waiting = iter(samples)
    sample = next(waiting, None)
    for item, (data, sentence) in zip(items, read_encoded(dataset, items, encoding, plan.workers), strict=True):
        if sentence and not plan.skip_broken:
            raise InputError(f"{sentence}; mend it, or leave such pictures out with --skip-broken")
        if sentence:
            broken[item] = sentence
        while sample is not None and sample.item == item:
            if not sentence:
                yield data, sample
            sample = next(waiting, None)


def _captions_member(layout: str, captions: Sequence[str]) -> tuple[str, bytes]:
    if layout == "xe":
        return "txt", captions[0].encode()
    return "json", json.dumps(list(captions), ensure_ascii=False).encode()


def _member(name: str, content: bytes) -> tarfile.TarInfo:
    """Return a tar header that depends only on name and size."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o644
    return info


def _progress_of_whole(progress: Progress | None, numbers: range, samples: Samples) -> Progress | None:
    """Return a function that reports the progress of a shard as part of the whole."""
    if progress is None:
        return None
    return lambda what, done, _: progress(what, numbers.start + done, len(samples))
