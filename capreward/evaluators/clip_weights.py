"""The choice of weights for images, and the images' features from pictures or from a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from capreward.encoders.pool import EncoderSettings, device_of, precision_of, with_named_weights
from capreward.errors import InputError
from capreward.samples import ITEMS, Samples

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.encoder import Encoder

SCENES = {"clips": "scenes-clip", "pacs": "scenes-pacs", "grammar": "scenes-grammar"}


def choose_settings(requested: EncoderSettings, family: str, variant: str | None, *, scenes: bool) -> EncoderSettings:
    """Return the settings with weights: the user's, the scenes weights for scenes, or the published ones.

    Args:
        requested: The settings of the user; an empty checkpoint means the default weights.
        family: The family: ``clips``, ``pacs``, ``pacspp`` or ``grammar``.
        variant: The variant of the published weights.
        scenes: Whether pictures of the scenes world are judged.

    Raises:
        InputError: No weights are found; the message says where they are published and what to type.
    """
    from capreward.encoders.weights.catalogue import find_weights, published_settings
    from capreward.encoders.weights.tags import names_model

    device = device_of(requested.device)
    settings = replace(requested, device=device, precision=precision_of(requested.precision, device))
    if settings.checkpoint:
        settings = replace(settings, download=settings.download or names_model(settings.checkpoint))
        return published_settings(settings, family, variant)
    if scenes and variant is None and family in SCENES:
        return replace(settings, checkpoint=SCENES[family])
    if settings.download:
        fetch_published(family, variant)
    try:
        return with_named_weights(settings, find_weights(family, variant))
    except InputError as error:
        if variant is not None or family not in ("clips", "pacs"):
            raise
        # Pictures that were made from scenes (PIL images, arrays) do not show that they are scenes.
        named_by = f"{family}(checkpoint={SCENES[family]}) as a metric, or --checkpoint {SCENES[family]}"
        raise InputError(f"{error}; for pictures of scenes write {named_by}") from error


def missing_weights(family: str, *, scenes: bool) -> str | None:
    """Return what an evaluator's default weights lack on this computer, as ``find_weights`` says it, or None.

    Args:
        family: The family, as for ``choose_settings``.
        scenes: Whether pictures of the scenes world are judged; their weights ship with capreward.
    """
    from capreward.encoders.weights.catalogue import entry_of, find_weights, weights_of_entry

    if (scenes and family in SCENES) or weights_of_entry(entry_of(family)) is not None:
        return None
    try:
        find_weights(family)
    except InputError as error:
        return str(error)
    return None


def names_scene_images(source: object) -> bool:
    """Return whether a source of images is the scenes world, or a store of features by one of its encoders."""
    from capreward.data.images.scene_keys import names_scenes
    from capreward.encoders.store.feature_store import FeatureStore, is_store

    name = str(source)
    if names_scenes(name):
        return True
    return is_store(name) and str(FeatureStore(name).fields.get("model", "")).startswith("scenes-")


def fetch_published(family: str, variant: str | None) -> None:
    """Fetch an evaluator's weights from their authors, if they are not here and a plain address is published."""
    from capreward.encoders.weights import library
    from capreward.encoders.weights.catalogue import entry_of, weights_of_entry

    entry = entry_of(family, variant)
    if entry.url is not None and weights_of_entry(entry) is None:
        library.fetch(entry, entry.url)


def shows_scenes(samples: Samples) -> bool:
    """Return whether every image of the samples is a picture of the scenes world, or features of one."""
    images = [image for image in samples.images or [] if image is not None]
    return bool(images) and all(_is_scene(image) for image in images)


def _is_scene(image: Any) -> bool:
    from capreward.data.images.cropped_picture import without_crops
    from capreward.data.scenes import ScenePicture
    from capreward.encoders.store.feature_store import StoredFeature

    if isinstance(image, StoredFeature):
        return str(image.store.fields.get("model", "")).startswith("scenes-")
    return isinstance(without_crops(image), ScenePicture)


def stored_precision(samples: Samples) -> str | None:
    """Return how the features of a store were rounded, or None; rounding changes the last digits."""
    stores = {id(i.store): i.store for i in samples.images or [] if i is not None and _is_stored(i)}
    rounded = sorted({store.dtype for store in stores.values()} - {"float32"})
    return "+".join(rounded) or None


def features_of(
    samples: Samples,
    encoder: Encoder,
    *,
    workers: int | None,
    skip_broken: bool,
    progress: Callable[[str, float, float], None] | None,
) -> tuple[Tensor, list[str]]:
    """Return features of the samples' images, [M, D], not normalised, and notes.

    Evaluators with one image tower share the features.

    Raises:
        InputError: Images are broken, features are of another encoder, or there are both pictures and features.
    """

    def build() -> tuple[Tensor, list[str]]:
        images = samples.images or []
        stored = [_is_stored(image) for image in images if image is not None]
        if any(stored):
            if not all(stored):
                raise InputError("images holds pictures and stored features; give one kind")
            return _stored_features(images, encoder), []
        from capreward.encoders.encoder import broken_note

        found = encoder.image_features(images, workers=workers, skip_broken=skip_broken, progress=progress)
        if found.broken and len(found.broken) == len(images):
            raise InputError(f"all {len(images):,} images are broken; the first: {found.broken[0][1]}")
        return found.values, [broken_note(found.broken)] if found.broken else []

    tower = tuple(encoder.image_fields().items())
    return samples.memo((ITEMS, "clip-images", skip_broken, tower, str(encoder.device)), build)


def _is_stored(image: Any) -> bool:
    from capreward.encoders.store.feature_store import StoredFeature

    return isinstance(image, StoredFeature)


def _stored_features(images: list[Any], encoder: Encoder) -> Tensor:
    import torch

    values = torch.full((len(images), encoder.embed_dim), torch.nan, device=encoder.device)
    by_store: dict[int, list[int]] = {}
    for i, image in enumerate(images):
        if image is not None:
            by_store.setdefault(id(image.store), []).append(i)
    for rows in by_store.values():
        store = images[rows[0]].store
        store.check(encoder.image_fields())
        found = store.features([images[i].row for i in rows])
        values[torch.as_tensor(rows, dtype=torch.long, device=encoder.device)] = found.to(encoder.device)
    return values
