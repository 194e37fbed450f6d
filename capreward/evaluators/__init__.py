"""The evaluators, one file per family, by name."""

from __future__ import annotations

from capreward.registry import Entry, Registry

_REFERENCES = ("references",)


def _text(module: str, attribute: str, summary: str, **options: object) -> Entry:
    return Entry(f"capreward.evaluators.{module}:{attribute}", summary, options, _REFERENCES)


def _alone(module: str, attribute: str, summary: str) -> Entry:
    return Entry(f"capreward.evaluators.{module}:{attribute}", summary)


evaluators = Registry(
    {
        "bleu": _text("bleu", "Bleu", "BLEU-1 to BLEU-4, closest reference length (Papineni et al. 2002)"),
        "bleu1": _text("bleu", "Bleu", "BLEU-1 alone", only=1),
        "bleu2": _text("bleu", "Bleu", "BLEU-2 alone", only=2),
        "bleu3": _text("bleu", "Bleu", "BLEU-3 alone", only=3),
        "bleu4": _text("bleu", "Bleu", "BLEU-4 alone", only=4),
        "meteor": _text("meteor", "Meteor", "METEOR 1.5, English, ranking parameters (Denkowski and Lavie 2014)"),
        "rouge": _text("rouge", "Rouge", "ROUGE-L, beta 1.2 (Lin 2004)"),
        "cider": _text("cider", "Cider", "CIDEr as every paper reports it, which is CIDEr-D (Vedantam et al. 2015)"),
        "cider-d": _text("cider", "CiderD", "CIDEr-D; as a reward with fixed document frequencies, df=FILE"),
        "cider-plain": _text("cider", "CiderPlain", "CIDEr without CIDEr-D's clipping and length penalty"),
        "spice": _text("spice", "Spice", "SPICE (Anderson et al. 2016), through its Java program"),
        "repetition": _alone(
            "repetition", "Repetition", "share of repeated 1- to 4-grams in a caption; lower is better"
        ),
        "length": _alone("repetition", "Length", "words per caption"),
        "vocabulary": _alone("diversity", "VocabularySize", "distinct words over all captions"),
        "distinct": _alone("diversity", "Distinct", "distinct-1 and distinct-2 (Li et al. 2016)"),
        "mbleu": _alone("diversity", "MutualBleu", "mBLEU-1..4 among the captions of an image; lower is more diverse"),
        "self-cider": _alone(
            "diversity", "SelfCider", "Self-CIDEr diversity of an image's captions (Wang and Chan 2019)"
        ),
    }
)
