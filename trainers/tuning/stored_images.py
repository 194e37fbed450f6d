"""The features of pictures whose image tower is frozen: they are computed once and stored with the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError, shorten
from trainers.data.dataset import Dataset, counted
from trainers.data.packed_texts import PackedCaptions
from trainers.tuning.items import Items

if TYPE_CHECKING:
    from capreward.encoders.loading import Clip


def with_stored_features(items: Items, clip: Clip, store: Path, workers: int) -> Items:
    """Return the items with stored features in place of pictures.

    Processes share the encoding, and a resumed run goes on with it.

    Args:
        items: The items, with pictures.
        clip: The CLIP, whose image tower is frozen.
        store: The folder of the features; it is made if it is missing.
        workers: The number of worker processes that decode.

    Raises:
        InputError: None of the pictures can be read, or the folder cannot be written.
    """
    import torch

    from capreward.encoders.encoder import Encoder
    from capreward.encoders.feature_extraction import embed_images
    from capreward.encoders.store.feature_store import FeatureStore

    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    shard = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if together else (0, 1)
    clip.model.eval()
    pairs = items.pairs
    pictures: list[Any] = [pairs.picture(i) for i in range(len(pairs))]
    embedded = embed_images(Encoder(clip), pairs.keys, pictures, store, shard=shard, workers=workers, skip_broken=True)
    if together:
        torch.distributed.barrier()
    features_store = FeatureStore(store)
    readable = [i for i, key in enumerate(pairs.keys) if key in features_store]
    if not readable:
        raise InputError(f"none of the pictures of {pairs.source} can be read; the first: {embedded.broken[0][1]}")
    notes = list(items.notes)
    if len(readable) < len(pairs):
        reasons = shorten([sentence for _, sentence in embedded.broken])
        notes.append(f"{counted(len(pairs) - len(readable), 'picture')} of {pairs.source} cannot be read: {reasons}")
    keys = [pairs.keys[i] for i in readable]
    captions = PackedCaptions.of(pairs.captions(i) for i in readable)
    features = [features_store.stored(key) for key in keys]
    return replace(items, pairs=Dataset(pairs.source, keys, features, captions, notes), notes=tuple(notes))
