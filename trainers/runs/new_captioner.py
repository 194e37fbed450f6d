"""The captioner that a run begins with: read, or new."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError
from trainers.captioners.config import CaptionerConfig
from trainers.runs.config import RunConfig

if TYPE_CHECKING:
    from trainers.captioners.base import Captioner
    from trainers.captioners.towers import Tower
    from trainers.captioners.vocabulary import Vocabulary
    from trainers.data import Dataset

NAMED = ("tower", "clip", "learn")


def make_captioner(config: RunConfig, train: Dataset | None) -> Captioner:
    """The captioner to train: read where ``init`` names one, else new, from the run's seed.

    Raises:
        InputError: weights that are not found or do not fit.
    """
    asked = config.captioner
    if asked.init:
        from trainers.captioners.layouts.loading import open_captioner

        return open_captioner(asked.init, cropping=asked.cropping, download=config.download)
    import torch

    from trainers.captioners.folder import sizes_of

    tower = make_tower(asked, train, download=config.download)
    torch.manual_seed(config.seed)
    sizes = sizes_of(asked.default_sizes(), asked.sizes)
    if asked.kind == "clip-reward":
        from trainers.captioners.transformer import TransformerCaptioner

        return TransformerCaptioner(tower, word_vocabulary(asked, train), sizes)
    from trainers.captioners.grid import GridCaptioner

    return GridCaptioner(tower, piece_vocabulary(asked, tower, train), sizes)


def make_tower(asked: CaptionerConfig, train: Dataset | None, *, download: bool) -> Tower:
    """The image side of a new captioner.

    Raises:
        InputError: weights that are not found, pictures where stored features are asked for, or steps that the tower
            does not have.
    """
    from trainers.captioners.towers import PatchTower, StoredTower, tower_of

    if asked.tower in ("patch", "stored") and asked.cropping == "transformers":
        raise InputError(f"captioner.cropping is of a CLIP's tower, and the tower is {asked.tower}; leave it out")
    if asked.tower == "patch":
        return PatchTower(asked.side or 112)
    if asked.tower == "stored":
        return StoredTower(*stored_features(train))
    asked_steps = {"side": asked.side, "resize": asked.resize, "cropping": asked.cropping}
    steps = {name: value for name, value in asked_steps.items() if value is not None}
    return tower_of({"kind": "clip", "source": asked.tower, **steps}, download=download)


def piece_vocabulary(asked: CaptionerConfig, tower: Tower, train: Dataset | None) -> Vocabulary:
    """The byte-pair encoding of a new captioner.

    Raises:
        InputError: merges that cannot be read, or a tower without any.
    """
    from trainers.captioners.towers import ClipTower
    from trainers.captioners.vocabulary import ClipVocabulary

    if asked.vocabulary not in NAMED:
        return ClipVocabulary(asked.vocabulary)
    if asked.vocabulary == "learn":
        return learnt_vocabulary(train, asked.merges)
    if asked.vocabulary == "tower" and isinstance(tower, ClipTower):
        return tower.vocabulary()
    return ClipVocabulary()


def learnt_vocabulary(train: Dataset | None, most: int) -> Vocabulary:
    """Merges learnt from the training captions, most frequent first."""
    import tempfile
    from pathlib import Path

    from capreward.text.merges import learn_merges, write_merges
    from trainers.captioners.vocabulary import ClipVocabulary

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "merges.txt.gz"
        write_merges(path, learn_merges(_captions(train), most=most))
        return ClipVocabulary(path)


def word_vocabulary(asked: CaptionerConfig, train: Dataset | None) -> Vocabulary:
    """The words of a new captioner: those of the training captions that occur often enough, or of a file."""
    from pathlib import Path

    from trainers.captioners.word_vocabulary import WordVocabulary, read_words

    if asked.vocabulary not in NAMED:
        return read_words(Path(asked.vocabulary))
    try:
        return WordVocabulary.of_captions(_captions(train), threshold=asked.least - 1)
    except InputError as error:
        raise InputError(
            f"no word occurs {asked.least} times in the training captions; give captioner.least=1"
        ) from error


def _captions(train: Dataset | None) -> Iterator[str]:
    if train is None:
        return
    for index in range(len(train)):
        yield from train[index].captions


def stored_features(train: Dataset | None) -> tuple[tuple[int, int], dict[str, str]]:
    """Shape (S, D) and encoder of the training items' stored features.

    Raises:
        InputError: pictures instead.
    """
    from capreward.encoders.store.feature_store import StoredFeature

    picture: Any = None if train is None or not len(train) else train[0].picture
    if not isinstance(picture, StoredFeature):
        raise InputError(
            "captioner.tower is stored, but the training items are pictures; give --images a feature store"
        )
    shape = tuple(picture.store.shape)
    tokens = (1, *shape) if len(shape) == 1 else shape
    return (int(tokens[0]), int(tokens[1])), dict(picture.store.fields)
