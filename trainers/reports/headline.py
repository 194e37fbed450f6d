"""The meanings of the metrics in the table at the head of a report."""

from __future__ import annotations

MEANINGS = {
    "cider": "agreement with what people say of the picture",
    "cider-d": "agreement with what people say of the picture",
    "clips": "how well caption and picture fit, by a CLIP",
    "pacs": "how well caption and picture fit, by a CLIP tuned for captions",
    "judge": "how well caption and picture fit, by a CLIP that no reward is made of",
    "repetition": "share of words and phrases said before in the same caption",
    "scene-facts": "precision and recall of the facts stated, in one number",
    "scene-facts-precision": "share of the stated facts that is true",
    "scene-facts-recall": "share of the picture’s facts that is told",
    "scene-grammar": "share of grammatical captions",
    "length": "words per caption",
    "bleu4": "shared phrases of up to four words with the references",
    "rouge": "longest common word sequence with a reference",
    "meteor": "words shared with the references, stems and synonyms included",
    "spice": "facts shared with the references",
}
