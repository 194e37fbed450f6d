"""The roles of columns in a caption file, by their names.

A name that means a prediction is never a reference, and a name that means a reference is never a candidate. Names that
only say "caption" may be either; the rest of the file decides (see :mod:`capreward.data.columns`).
"""

from __future__ import annotations

import re
from enum import Enum
from types import MappingProxyType

from capreward.data.image_ids import MEDIA_ENDINGS


class Role(Enum):
    """The role of a column."""

    IMAGE_ID = "the id of an image"
    ITEM_ID = "an id, of an image or of a row"
    FILE = "a picture file or a picture"
    PREDICTION = "candidate captions"
    REFERENCE = "reference captions"
    CAPTION = "captions"
    SPLIT = "the split"
    RATING = "a human rating"
    REJECTED = "a mark of captions that do not count"


CAPTION_ROLES = frozenset({Role.PREDICTION, Role.REFERENCE, Role.CAPTION})
ID_ROLES = frozenset({Role.IMAGE_ID, Role.ITEM_ID, Role.FILE})

_IMAGE_IDS = """image_id imageid imgid img_id cocoid coco_id image_key video_id videoid vid youtube_id clip_id audio_id
media_id photo_id"""
_ITEM_IDS = "id _id key __key__ question_id doc_id seg_id segid sample_id item_id uid uuid audiocap_id index idx"
_FILES = """image img filename file_name file image_name image_path img_path img_name image_filename image_file_name
media_path file_path path video video_path video_name audio audio_path audio_name photo picture fname"""
_CAPTIONS = """caption captions cap caps text texts sentence sentences comment comments description descriptions
utterance paragraph report raw answer answers caption_str caption_text sentence_raw sentences_raw"""
_PREDICTIONS = """prediction predictions predict predicted pred preds generated generation generations hypothesis
hypotheses hyp hyps candidate candidates cand output outputs response responses resps reply replies mt decoded
completion completions"""
_REFERENCES = """reference references ref refs gt gts gold golds groundtruth groundtruths ground_truth ground_truths
target targets"""
_SPLITS = "split set_name"
_RATINGS = "rating ratings score human_score human_rating human_judgement human_judgment judgement judgment"
_REJECTED = "is_rejected is_precanned"

_NAMES: MappingProxyType[str, Role] = MappingProxyType(
    {
        name: role
        for role, names in (
            (Role.IMAGE_ID, _IMAGE_IDS),
            (Role.ITEM_ID, _ITEM_IDS),
            (Role.FILE, _FILES),
            (Role.CAPTION, _CAPTIONS),
            (Role.PREDICTION, _PREDICTIONS),
            (Role.REFERENCE, _REFERENCES),
            (Role.SPLIT, _SPLITS),
            (Role.RATING, _RATINGS),
            (Role.REJECTED, _REJECTED),
        )
        for name in names.split()
    }
)
# Words that may stand beside those of a role: "generated_caption", "caption_gt", "reference_strs", "model_output".
_LAST = "caption captions cap caps sentence sentences description descriptions"
_LAST_WORDS = frozenset(_LAST.split())
_FILLERS = "text texts txt answer answers comment comments str strs string strings raw"
_CAPTION_WORDS = _LAST_WORDS | frozenset(_FILLERS.split())
_PREDICTION_WORDS = frozenset(_PREDICTIONS.split()) | {"gen", "model"}
_REFERENCE_WORDS = frozenset(_REFERENCES.split()) | {"ground", "truth", "truths", "human"}
# Words that say something about captions: "caption_id", "n_captions", "response_time", "has_caption" hold none.
_ABOUT = """id ids number numbers no num n count counts len length lengths index idx token tokens score scores prob
probs logprob logprobs lang language source type path paths file files url name model format time times has is max
min"""
_ABOUT_WORDS = frozenset(_ABOUT.split())
# Columns that only number the rows: pandas writes its index under these names.
ROW_NAMES = frozenset({"", "unnamed_0", "level_0", "row", "row_id", "row_number"})
_NUMBERED = re.compile(r"(.*?[a-z])_?(\d{1,6})(?:_(?:raw|text|caption|str))?")
BASE64_STARTS = ("/9j/4", "iVBORw0KGgo", "R0lGOD", "UklGR", "data:image/")


def plain_name(name: str) -> str:
    """Spell a column name in the usual way: ``" Image ID"`` and ``imageID`` become ``image_id``."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[\s\-./:]+", "_", split).lower()


def split_number(name: str) -> tuple[str, int | None]:
    """Split the number off a column name.

    Returns:
        The name and the number: ``caption_3`` gives ``("caption", 3)``, and ``caption`` gives ``("caption", None)``.
    """
    found = _NUMBERED.fullmatch(plain_name(name))
    if found is None or found[1].strip("_") == "":
        return plain_name(name), None
    return found[1].rstrip("_"), int(found[2])


def role_of(name: str) -> Role | None:
    """Return the role that a column of this name may play, or None if no rule knows the name."""
    spelt = plain_name(name)
    if spelt in _NAMES:
        return _NAMES[spelt]
    base, number = split_number(name)
    if number is not None and _caption_role(base) in CAPTION_ROLES:
        return _caption_role(base)
    return _caption_role(spelt)


def is_column_name(name: str) -> bool:
    """Return whether a text is the name of a column, by which a header or a record differs from other text.

    "blip2_caption" is a name, but "a caption" is none: if a name has blanks in it, it must be a usual one.
    """
    role = role_of(name)
    usual = plain_name(name) in _NAMES or " " not in name.strip() or role is not Role.CAPTION
    return role not in (None, Role.RATING) and (usual or split_number(name)[0] in _NAMES)


def is_picture(value: object) -> bool:
    """Return whether a cell holds a picture itself: bytes, base64, or Hugging Face's ``{"bytes", "path"}``."""
    if isinstance(value, dict):
        return bool(value.keys() & {"bytes", "path"})
    if isinstance(value, bytes):
        return True
    return isinstance(value, str) and value.startswith(BASE64_STARTS) and not is_media_name(value)


def is_media_name(text: str) -> bool:
    """Return whether a text ends as the name of a picture, video or sound file does."""
    return text.rpartition(".")[2].lower() in MEDIA_ENDINGS if "." in text else False


def _caption_role(spelt: str) -> Role | None:
    known = _NAMES.get(spelt)
    if known in CAPTION_ROLES:
        return known
    words = [word for word in spelt.split("_") if word]
    said = [word for word in words if word not in _CAPTION_WORDS and not word.isdigit()]
    if not words or (words[-1] in _ABOUT_WORDS and words != ["model"]) or words[0] in _ABOUT_WORDS - {"model"}:
        return None
    if said == ["model"] and words[0] == "model" and len(words) > 1:
        return Role.PREDICTION  # "model_caption", "model_answer"
    if said and len(said) < len(words) and all(word in _REFERENCE_WORDS for word in said):
        return Role.REFERENCE
    if not (_PREDICTION_WORDS - {"model"}).isdisjoint(said):
        return Role.PREDICTION  # "generated_caption", "llava_response", "model_output"
    # "enCap", "blip2_caption" and "gpt_answer" are captions, and so is "caption_en".
    last = len(words) > 1 and (words[-1] in _LAST_WORDS or words[-1] in ("answer", "answers"))
    first = len(words) == 2 and words[0] in _LAST_WORDS
    return Role.CAPTION if last or first else None
