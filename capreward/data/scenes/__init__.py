"""``scenes``: a small world of drawn pictures with human-like captions, in which the true content is known.

A picture has a place, a light and one to four groups of equal objects, whose kind, colour, texture, size, count and
relations are known. The picture and its five captions follow from its split, its index and a seed.
"""

from capreward.data.scenes.recogniser import is_grammatical
from capreward.data.scenes.world import VERSION, Scene, ScenePicture, picture_of, scene

__all__ = ["VERSION", "Scene", "ScenePicture", "is_grammatical", "picture_of", "scene"]
