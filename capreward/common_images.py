"""The images that several systems all describe, and the systems restricted to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from capreward.errors import InputError
from capreward.paired_captions import shared_names
from capreward.samples import Samples


def common_images(systems: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return for each system the ids of the images that all systems have, in the order of the first system.

    Args:
        systems: The image ids of each system; ids match as between captions and references.

    Raises:
        InputError: An id could mean two images.
    """
    first, *others = [list(dict.fromkeys(keys)) for keys in systems]
    names = [shared_names(first, other) for other in others]
    shared = [key for key in first if all(key in known for known in names)]
    return [shared, *([known[key] for key in shared] for known in names)]


def shared_count_if_different(systems: Sequence[Sequence[str]]) -> int | None:
    """Return how many images all systems share if their images differ; None if all have the same images."""
    sets = [set(keys) for keys in systems]
    if all(keys == sets[0] for keys in sets):
        return None
    try:
        shared = len(common_images(systems)[0])
    except InputError:  # an id of one system could mean two images of another, so ids are compared as written
        shared = len(set.intersection(*sets))
    return None if all(len(keys) == shared for keys in sets) else shared


def restrict_to_common(systems: Sequence[Samples]) -> tuple[list[Samples], list[str]]:
    """Return the captions of the images that all systems have, and per system a note on what was left out, or "".

    Args:
        systems: The samples, matched with references and images, before anything is scored.

    Raises:
        InputError: There is one system only, no image is common to all, or an id could mean two images.
    """
    if len(systems) < 2:
        raise InputError("--common compares systems on the images that they share; give two caption files or more")
    kept = common_images([_described_images(samples) for samples in systems])
    if not kept[0]:
        raise InputError("no image has a caption by all systems, so --common leaves nothing to score")
    found, notes = [], []
    for samples, keys in zip(systems, kept, strict=True):
        few = _with_only(samples, set(keys))
        left = len(samples) - len(few)
        notes.append(f"{left:,} caption{'s' * (left != 1)} of images that not all systems describe left out (--common)")
        found.append(few if left else samples)
    return found, [note if few is not samples else "" for note, few, samples in zip(notes, found, systems, strict=True)]


def _described_images(samples: Samples) -> list[str]:
    return list(dict.fromkeys(samples.caption_keys))


def _with_only(samples: Samples, keys: set[str]) -> Samples:
    """Return the captions of some images; these images are the only items."""
    items = [i for i, key in enumerate(samples.key) if key in keys]
    place = np.full(samples.n_items, -1)
    place[items] = np.arange(len(items))
    rows = np.flatnonzero(place[samples.item] >= 0)
    return Samples(
        [samples.captions[i] for i in rows],
        references=None if samples.references is None else [samples.references[i] for i in items],
        images=None if samples.images is None else [samples.images[i] for i in items],
        item=place[samples.item[rows]],
        key=[samples.key[i] for i in items],
        files=samples.files,
        notes=samples.notes,
    )
