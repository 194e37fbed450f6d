"""Pictures in front of an image tower that stays as it is, encoded once and kept with the run."""

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


def embedded(items: Items, clip: Clip, store: Path, workers: int) -> Items:
    """The items with stored features in place of pictures; processes share the work, and a run goes on with it.

    Args:
        items: with pictures.
        clip: whose image tower stays as it is.
        store: folder of the features, made if it is not there.
        workers: processes that decode.

    Raises:
        InputError: none of the pictures can be read, or the folder cannot be written.
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
    done = embed_images(Encoder(clip), pairs.keys, pictures, store, shard=shard, workers=workers, skip_broken=True)
    if together:
        torch.distributed.barrier()
    found = FeatureStore(store)
    kept = [i for i, key in enumerate(pairs.keys) if key in found]
    if not kept:
        raise InputError(f"none of the pictures of {pairs.source} can be read; the first: {done.broken[0][1]}")
    notes = list(items.notes)
    if len(kept) < len(pairs):
        lost = shorten([sentence for _, sentence in done.broken])
        notes.append(f"{counted(len(pairs) - len(kept), 'picture')} of {pairs.source} cannot be read: {lost}")
    keys = [pairs.keys[i] for i in kept]
    captions = PackedCaptions.of(pairs.captions(i) for i in kept)
    features = [found.stored(key) for key in keys]
    return replace(items, pairs=Dataset(pairs.source, keys, features, captions, notes), notes=tuple(notes))
