"""Evaluators for captions of ``scenes``: whether their facts are true, and whether they are grammatical."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.samples import Samples

if TYPE_CHECKING:
    from capreward.data.scenes import ScenePicture
    from capreward.data.scenes.facts import Truth

Floats = npt.NDArray[np.float64]

CATEGORIES = ("objects", "attributes", "relations", "counts", "setting")
STATED, TRUE, KNOWN, TOLD = range(4)


class SceneFacts(Evaluator):
    """Precision, recall and F1 of the facts that a caption states of a picture of ``scenes``; range [0, 1].

    Facts are read from the words, grammatical or not (see ``capreward.data.scenes.stated_facts``), and compared with
    the picture. They are counted in five categories (``capreward.data.scenes.facts.count_facts``):

    - objects: each mention of a kind of object; a second "a ball" is a second object, "the ball" is not;
    - attributes: colour, size and texture, bound to their object; plain objects have no texture to name;
    - relations: left, right, above, below, near, in front and behind, with their two objects; converses are one
      relation. All that hold are true; a full caption needs, for each object after the first, one relation to another;
    - counts: how many of each object there are ("a" is one);
    - setting: place and light.

    Precision is the share of stated facts that are true, recall the share of known facts that are told, over all
    categories; a corpus adds up the facts of its captions. A caption that states nothing has precision 0. The columns
    of a category are NaN if none of its facts is stated (precision) or known (recall: a picture of one object has no
    relations). The reward is F1.

    Args:
        detailed: Whether to also give precision and recall of each category.
    """

    name = "scene-facts"
    needs = frozenset({"images"})

    def __init__(self, detailed: bool = False) -> None:
        self.columns = ("scene-facts", "scene-facts-precision", "scene-facts-recall")
        if detailed:
            self.columns += tuple(f"{category}-{part}" for category in CATEGORIES for part in ("precision", "recall"))

    def parameters(self) -> dict[str, object]:
        """Return the version of the world."""
        from capreward.data.scenes import VERSION

        return {"world": VERSION}

    def prepare(self, samples: Samples) -> list[Truth]:
        """Return the true facts of each item.

        Raises:
            InputError: An image is no picture of the scenes world.
        """
        from capreward.data.scenes.facts import Truth

        pictures = [_picture(image) for image in samples.images or []]
        if None in pictures:
            raise InputError(f"{self.name} needs pictures of the scenes world; give --images scenes")
        return [Truth.of(picture.scene) for picture in pictures if picture is not None]

    def statistics(self, samples: Samples, prepared: Any) -> Floats:
        """Return the numbers of stated, true, known and told facts of each category, [N, 20]."""
        from capreward.data.scenes.facts import count_facts
        from capreward.data.scenes.stated_facts import read_facts

        pairs = zip(samples.captions, samples.item.tolist(), strict=True)
        rows = [count_facts(read_facts(caption), prepared[item]) for caption, item in pairs]
        return np.array(rows, dtype=np.float64).reshape(len(rows), -1)

    def finish(self, sums: Floats) -> Floats:
        """Return columns [..., 3] or, detailed, [..., 13] of summed statistics [..., 20]."""
        table = sums.reshape(*sums.shape[:-1], len(CATEGORIES), 4)
        whole = table.sum(axis=-2)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(whole[..., STATED] > 0, whole[..., TRUE] / whole[..., STATED], 0.0)
            recall = whole[..., TOLD] / whole[..., KNOWN]
            f1 = np.where(precision + recall > 0, 2 * precision * recall / (precision + recall), 0.0)
            each = np.stack([table[..., TRUE] / table[..., STATED], table[..., TOLD] / table[..., KNOWN]], axis=-1)
        means = np.stack([f1, precision, recall], axis=-1)
        return np.concatenate([means, each.reshape(*each.shape[:-2], -1)], axis=-1)[..., : len(self.columns)]


def _picture(image: Any) -> ScenePicture | None:
    """Return the scene that an image or a stored feature is made from, or None."""
    from capreward.data.images.cropped_picture import without_crops
    from capreward.data.scenes import ScenePicture, picture_of
    from capreward.encoders.store.feature_store import StoredFeature

    if isinstance(image, StoredFeature):
        return picture_of(image.store.keys[image.row])
    shown = without_crops(image)
    return shown if isinstance(shown, ScenePicture) else None


class SceneGrammar(Evaluator):
    """Whether a caption belongs to the language of ``scenes``: exactly 1 or 0; the mean is the share that does.

    The rules that make the world's captions judge articles, agreement, plurals, the order of words and whether the
    sentence is complete, whatever the picture shows. Case, commas and a final full stop do not count. A word outside
    the language makes a caption ungrammatical, so this is for captions of ``scenes`` alone.
    """

    name = "scene-grammar"

    def parameters(self) -> dict[str, object]:
        """Return the version of the world."""
        from capreward.data.scenes import VERSION

        return {"world": VERSION}

    def values(self, samples: Samples, prepared: Any) -> Floats:
        """Return ones and zeros [N]."""
        from capreward.data.scenes import is_grammatical

        return np.array([is_grammatical(caption) for caption in samples.captions], dtype=np.float64)
