"""Writing training shards in DiCO's two layouts: the same input gives the same bytes, and a stopped run goes on."""

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
    """What is written, and how.

    Attributes:
        folder: of the shards.
        name: of the set: shards are ``NAME-000.tar`` and so on.
        layout: ``xe``: a sample per caption, ``.jpg`` and ``.txt``; ``dico``: one per picture, ``.jpg`` and ``.json``.
        shard_size: samples of a shard.
        resize: longest length of a picture's shorter side; None leaves pictures as they are.
        quality: of JPEGs that are written anew.
        skip_broken: leave out pictures that cannot be read, instead of refusing them.
        workers: processes that decode.
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
    """What a run did.

    Attributes:
        shards: file names, all of the set.
        samples: in the set.
        pictures: in the set, each counted once.
        captions: in the set.
        kept: shards that were there already.
        left_out: one sentence per broken picture that was left out.
        pattern: brace pattern of the set.
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
        """Shards that this run wrote."""
        return len(self.shards) - self.kept


@dataclass(frozen=True)
class Sample:
    """One sample of a shard.

    Attributes:
        item: of the set, that it comes from.
        key: in the shard.
        captions: all of the item's, or one.
        first: whether it is the first of the item's samples.
    """

    item: int
    key: str
    captions: tuple[str, ...]
    first: bool = True


def pack(dataset: Dataset, plan: Plan, progress: Progress | None = None) -> PackResult:
    """Write a set of shards, or what is missing of it, and name it in ``datasets.json`` beside them.

    A shard is written beside its place and renamed, then recorded with its hash in ``NAME.pack.json``: whatever stops
    the run costs one shard at most. A run that finds a recorded shard whole keeps it.

    Args:
        dataset: what to write.
        plan: where and how.
        progress: called as (what, done, total).

    Raises:
        InputError: shards of another set under that name, broken pictures, or a disk that does not take them.
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
    for shard, chosen in zip(shards, ranges, strict=True):
        if record.is_whole(shard) and (plan.skip_broken or not record.shards[shard]["left_out"]):
            packed.kept += 1
        else:
            told = _write_shard(plan, shard, [samples[n] for n in chosen], dataset, _shifted(progress, chosen, samples))
            record.add(shard, told)
        done = record.shards[shard]
        packed.samples += done["samples"]
        packed.pictures += done["pictures"]
        packed.captions += done["captions"]
        packed.left_out = list(dict.fromkeys([*packed.left_out, *done["left_out"]]))
    if not packed.samples:
        raise InputError(f"every picture of {dataset.source} is broken: {shorten(packed.left_out)}")
    add_set(plan.folder / "datasets.json", plan.name, packed.pattern)
    return packed


class Samples:
    """The samples of a set by number.

    Args:
        dataset: its items.
        layout: ``xe`` or ``dico``.
    """

    def __init__(self, dataset: Dataset, layout: str) -> None:
        self.dataset = dataset
        self.split = layout == "xe"
        self.keys = safe_keys(dataset.keys, unique=not self.split)
        # In xe: of each sample, the item it comes from.
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
    """What the bytes of the shards depend on."""
    return {
        "data": dataset.fingerprint(),
        "layout": plan.layout,
        "shard_size": plan.shard_size,
        "resize": plan.resize,
        "quality": plan.quality,
    }


def pattern_of(name: str, shards: int, digits: int) -> str:
    """The brace pattern of a set; the plain name of a single shard."""
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
    """Write a shard, and tell its hash, size and counts."""
    broken: dict[int, str] = {}
    told = {"size": 0, "samples": 0, "pictures": 0, "captions": 0}
    digest = hashlib.sha256()

    def write(beside: Path) -> None:
        with beside.open("wb") as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for number, (data, sample) in enumerate(_with_pictures(plan, dataset, samples, broken), 1):
                for ending, content in (("jpg", data), _said(plan.layout, sample.captions)):
                    archive.addfile(_member(f"{sample.key}.{ending}", content), io.BytesIO(content))
                told["samples"] += 1
                told["pictures"] += sample.first
                told["captions"] += len(sample.captions)
                if progress is not None:
                    progress(shard, number, len(samples))
        with beside.open("rb") as written:
            while block := written.read(BLOCK):
                digest.update(block)
                told["size"] += len(block)

    write_beside(plan.folder / shard, write)
    return {"sha256": digest.hexdigest(), **told, "left_out": list(broken.values())}


def _with_pictures(
    plan: Plan, dataset: Dataset, samples: Sequence[Sample], broken: dict[int, str]
) -> Iterator[tuple[bytes, Sample]]:
    """Yield each sample with its JPEG; note the broken ones or refuse them."""
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


def _said(layout: str, captions: Sequence[str]) -> tuple[str, bytes]:
    if layout == "xe":
        return "txt", captions[0].encode()
    return "json", json.dumps(list(captions), ensure_ascii=False).encode()


def _member(name: str, content: bytes) -> tarfile.TarInfo:
    """A header that depends on nothing but name and size."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o644
    return info


def _shifted(progress: Progress | None, chosen: range, samples: Samples) -> Progress | None:
    """The progress of a shard as that of the whole."""
    if progress is None:
        return None
    return lambda what, done, _: progress(what, chosen.start + done, len(samples))
