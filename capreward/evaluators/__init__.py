"""The registry of evaluators by name; each family of evaluators has its own file in this package."""

from __future__ import annotations

from capreward.registry import Entry, Registry

_REFERENCES = ("references",)


def _text(module: str, attribute: str, summary: str, **options: object) -> Entry:
    return Entry(f"capreward.evaluators.{module}:{attribute}", summary, options, _REFERENCES)


def _alone(module: str, attribute: str, summary: str, **options: object) -> Entry:
    return Entry(f"capreward.evaluators.{module}:{attribute}", summary, options)


def _clip(attribute: str, summary: str) -> Entry:
    if attribute.startswith("Ref"):
        return Entry(f"capreward.evaluators.ref_clip_score:{attribute}", summary, needs=("images", "references"))
    return Entry(f"capreward.evaluators.clip_score:{attribute}", summary, needs=("images",))


evaluators = Registry(
    {
        "bleu": _text("bleu", "Bleu", "BLEU-1 to BLEU-4, closest reference length (Papineni et al. 2002)"),
        "bleu1": _text("bleu", "Bleu", "BLEU-1 alone", only=1),
        "bleu2": _text("bleu", "Bleu", "BLEU-2 alone", only=2),
        "bleu3": _text("bleu", "Bleu", "BLEU-3 alone", only=3),
        "bleu4": _text("bleu", "Bleu", "BLEU-4 alone", only=4),
        "bleu-avg": _text("bleu", "BleuAverage", "the mean of BLEU-1 to BLEU-4"),
        "meteor": _text("meteor", "Meteor", "METEOR 1.5, English, ranking parameters (Denkowski and Lavie 2014)"),
        "rouge": _text("rouge", "Rouge", "ROUGE-L, beta 1.2 (Lin 2004)"),
        "cider": _text("cider", "Cider", "CIDEr as every paper reports it, which is CIDEr-D (Vedantam et al. 2015)"),
        "cider-d": _text("cider", "CiderD", "CIDEr-D; as a reward with fixed document frequencies, df=FILE"),
        "cider-plain": _text("cider", "CiderPlain", "CIDEr without CIDEr-D's clipping and length penalty"),
        "chrf": _text(
            "languages.chrf", "Chrf", "chrF2, F-score of character 1- to 6-grams (Popovic 2015); any language"
        ),
        "chrfpp": _text(
            "languages.chrf", "Chrf", "chrF2++, chrF with word 1- and 2-grams (Popovic 2017)", word_order=2
        ),
        "spice": _text("spice", "Spice", "SPICE (Anderson et al. 2016), through its Java program"),
        "clips": _clip("ClipS", "CLIP-S, 2.5 * max(cos, 0), OpenAI ViT-B/32 (Hessel et al. 2021)"),
        "refclips": _clip("RefClipS", "RefCLIP-S, CLIP-S with references"),
        "pacs": _clip("PacS", "PAC-S, 2 * max(cos, 0), tuned on positive-augmented pairs (Sarto et al. 2023)"),
        "refpacs": _clip("RefPacS", "RefPAC-S, PAC-S with references"),
        "pacspp": _clip("PacSpp", "PAC-S++, LoRA-tuned (Sarto et al. 2024)"),
        "refpacspp": _clip("RefPacSpp", "RefPAC-S++, PAC-S++ with references"),
        "clips-grammar": Entry(
            "capreward.evaluators.grammar:ClipsGrammar",
            "CLIP-S of grammar-tuned weights + 2 * grammar (Cho et al. 2022)",
            needs=("images",),
        ),
        "grammar": _alone("grammar", "Grammar", "probability that a caption is grammatical, by a head on a tuned CLIP"),
        "retrieval": Entry(
            "capreward.evaluators.retrieval:Retrieval",
            "recall at 1, 5, 10 and 50, ranks and MRR among the images and captions, both ways",
            needs=("images",),
        ),
        "scene-facts": Entry(
            "capreward.evaluators.scenes:SceneFacts",
            "F1, precision and recall of what a caption states of a picture of scenes",
            needs=("images",),
        ),
        "scene-grammar": _alone(
            "scenes", "SceneGrammar", "share of captions that the grammar of scenes accepts, exactly"
        ),
        "finecapeval": _alone(
            "finecapeval",
            "FineCapEval",
            "background, object and relation recall on FineCapEval, data=FILE (Cho et al. 2022)",
        ),
        "repetition": _alone(
            "repetition", "Repetition", "share of repeated 1- to 4-grams in a caption; lower is better"
        ),
        "length": _alone("repetition", "Length", "words per caption"),
        "vocabulary": _alone("diversity", "VocabularySize", "distinct words over all captions"),
        "distinct": _alone("diversity", "Distinct", "distinct-1 and distinct-2 (Li et al. 2016)"),
        "mbleu": _alone("diversity", "MutualBleu", "mBLEU-1..4 among the captions of an image; lower is more diverse"),
        **{f"mbleu{n}": _alone("diversity", "MutualBleu", f"mBLEU-{n} alone", only=n) for n in range(1, 5)},
        "self-cider": _alone(
            "diversity", "SelfCider", "Self-CIDEr diversity of an image's captions (Wang and Chan 2019)"
        ),
    },
    lists={"coco": ("bleu", "meteor", "rouge", "cider")},
)
