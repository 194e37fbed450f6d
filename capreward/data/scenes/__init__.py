"""``scenes``: a small world of drawn pictures with human-like captions whose true content is known.

A picture has a place, a light and one to four groups of equal objects, of which kind, colour, texture, size, count and
relations are known. It follows from its split, its index and a seed, and so do its five captions.
"""

from capreward.data.scenes.recogniser import is_grammatical
from capreward.data.scenes.world import VERSION, Scene, ScenePicture, picture_of, scene

__all__ = ["VERSION", "Scene", "ScenePicture", "is_grammatical", "picture_of", "scene"]
