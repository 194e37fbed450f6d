"""The captioner that a run begins with: one that is opened, or a new one."""

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

NAMED_VOCABULARIES = ("tower", "clip", "learn")


def make_captioner(config: RunConfig, train: Dataset | None) -> Captioner:
    """Return the captioner to train: opened if ``init`` names one, else new, from the run's seed.

    Raises:
        InputError: Weights are not found or do not fit.
    """
    section = config.captioner
    if section.init:
        from trainers.captioners.layouts.loading import open_captioner

        return open_captioner(section.init, cropping=section.cropping, download=config.download)
    import torch

    from trainers.captioners.folder import sizes_of

    torch.manual_seed(config.seed + 1)  # of a tower without pretrained weights: other draws than the captioner's
    tower = make_tower(section, train, download=config.download)
    torch.manual_seed(config.seed)
    sizes = sizes_of(section.default_sizes(), section.sizes)
    if section.kind == "clip-reward":
        from trainers.captioners.transformer import TransformerCaptioner

        return TransformerCaptioner(tower, word_vocabulary(section, train), sizes)
    from trainers.captioners.grid import GridCaptioner

    return GridCaptioner(tower, piece_vocabulary(section, tower, train), sizes)


def make_tower(section: CaptionerConfig, train: Dataset | None, *, download: bool) -> Tower:
    """Make the image tower of a new captioner.

    Raises:
        InputError: Weights are not found, there are pictures instead of stored features, or the tower does not have
            these image steps.
    """
    from trainers.captioners.towers import PatchTower, StoredTower, tower_of

    if section.tower in ("patch", "stored") and section.cropping == "transformers":
        raise InputError(f"captioner.cropping is of a CLIP's tower, and the tower is {section.tower}; leave it out")
    if section.tower == "patch":
        return PatchTower(section.side or 112)
    if section.tower == "stored":
        return StoredTower(*stored_features(train))
    image_steps = {"side": section.side, "resize": section.resize, "cropping": section.cropping}
    steps = {name: value for name, value in image_steps.items() if value is not None}
    return tower_of({"kind": "clip", "source": section.tower, **steps}, download=download)


def piece_vocabulary(section: CaptionerConfig, tower: Tower, train: Dataset | None) -> Vocabulary:
    """Make the byte-pair encoding of a new captioner.

    Raises:
        InputError: The merges cannot be read, or the tower has none.
    """
    from trainers.captioners.towers import ClipTower
    from trainers.captioners.vocabulary import ClipVocabulary

    if section.vocabulary not in NAMED_VOCABULARIES:
        return ClipVocabulary(section.vocabulary)
    if section.vocabulary == "learn":
        return learn_vocabulary(train, section.merges)
    if section.vocabulary == "tower" and isinstance(tower, ClipTower):
        return tower.vocabulary()
    return ClipVocabulary()


def learn_vocabulary(train: Dataset | None, most: int) -> Vocabulary:
    """Learn merges from the training captions, most frequent first."""
    import tempfile
    from pathlib import Path

    from capreward.text.bpe_merges import learn_merges, write_merges
    from trainers.captioners.vocabulary import ClipVocabulary

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "merges.txt.gz"
        write_merges(path, learn_merges(_captions(train), most=most))
        return ClipVocabulary(path)


def word_vocabulary(section: CaptionerConfig, train: Dataset | None) -> Vocabulary:
    """Make the word vocabulary of a new captioner: the frequent words of the training captions, or those of a file."""
    from pathlib import Path

    from trainers.captioners.word_vocabulary import WordVocabulary, read_words

    if section.vocabulary not in NAMED_VOCABULARIES:
        return read_words(Path(section.vocabulary))
    try:
        return WordVocabulary.of_captions(_captions(train), threshold=section.least - 1)
    except InputError as error:
        raise InputError(
            f"no word occurs {section.least} times in the training captions; give captioner.least=1"
        ) from error


def _captions(train: Dataset | None) -> Iterator[str]:
    if train is None:
        return
    for index in range(len(train)):
        yield from train[index].captions


def stored_features(train: Dataset | None) -> tuple[tuple[int, int], dict[str, str]]:
    """Return the shape (S, D) and the encoder of the training items' stored features.

    Raises:
        InputError: The training items are pictures.
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
