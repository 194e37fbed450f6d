"""Tokenizers for languages other than English: hand-made values, sacrebleu's own, names and refusals."""

from __future__ import annotations

import pickle
import subprocess
import sys
import unicodedata
from importlib.abc import MetaPathFinder

import numpy as np
import pytest
from places import ROOT

from capreward import InputError, Samples, load, score
from capreward.text.document_frequencies import DocumentFrequencies
from capreward.text.tokenizers import NAMES, OF_SACREBLEU, SUMMARIES, name_to_type, same_words, tokenizer_of

REASON = "sacrebleu comes with the extra languages"
SENTENCES = [
    'A dog, "red" & white, costs $1,000.50 (or 5%)...',
    "那只狗 is running，在公园里。",
    "Một con chó đang chạy; nó vui!",
    "犬が公園で走っています。",
    "  the   end  \n",
    "",
]
VIETNAMESE = "Một con chó, ĐANG chạy trên bãi cỏ (vi-ô-lông)."


class Hidden(MetaPathFinder):
    """A finder that hides packages, as if they were not installed."""

    def __init__(self, *names):
        self.names = names

    def find_spec(self, fullname, path, target=None):
        if fullname.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def hide(monkeypatch, *names):
    for module in [m for m in sys.modules if m.partition(".")[0] in names]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Hidden(*names), *sys.meta_path])


@pytest.mark.parametrize(
    ("name", "caption", "expected"),
    [
        ("whitespace", "A  Dog,\tRUNNING.\n", "a dog, running."),
        ("whitespace", "Ein Hund läuft\u3000schnell", "ein hund läuft schnell"),
        ("whitespace", VIETNAMESE, "một con chó, đang chạy trên bãi cỏ (vi-ô-lông)."),
        ("syllable", VIETNAMESE, "một con chó đang chạy trên bãi cỏ vi ô lông"),
        ("syllable", "con mèo,con chó", "con mèo con chó"),
        ("syllable", "“5 + 3” …", "5 + 3"),
        ("syllable", "...", ""),
    ],
)
def test_words_by_hand(name, caption, expected):
    tokenizer = tokenizer_of(name)
    assert tokenizer([caption, ""]) == [expected, ""]
    assert tokenizer.name == name


@pytest.mark.parametrize("name", ["whitespace", "syllable"])
def test_an_accent_counts_the_same_however_it_was_typed(name):
    apart, composed = (unicodedata.normalize(form, VIETNAMESE) for form in ("NFD", "NFC"))
    assert apart != composed
    found = tokenizer_of(name)([apart, composed])
    assert found[0] == found[1] == unicodedata.normalize("NFC", found[0])
    assert load("bleu1", tokenizer=name)(Samples([apart], references=[[composed]])).item() > 0.99
    # A capital letter that no composed form has can have one in lower case.
    assert tokenizer_of(name)(["J\u030c"]) == ["\u01f0"]


@pytest.mark.parametrize("name", [n for n in OF_SACREBLEU if n != "ja-mecab"])
def test_sacrebleus_words_are_sacrebleus(name):
    sacrebleu = pytest.importorskip("sacrebleu", reason=REASON)
    original = sacrebleu.BLEU(tokenize=name)
    expected = [original._preprocess_segment(sentence).split() for sentence in SENTENCES]
    tokenizer = tokenizer_of(name)
    found = tokenizer(SENTENCES)
    assert [text.split() for text in found] == expected
    assert all(text == " ".join(text.split()) for text in found)
    assert tokenizer([unicodedata.normalize("NFD", s) for s in SENTENCES[2:3]]) == found[2:3]
    assert pickle.loads(pickle.dumps(tokenizer))(SENTENCES) == found
    assert tokenizer.name == f"{name}(sacrebleu:{sacrebleu.__version__})"


def test_japanese_words_are_sacrebleus():
    sacrebleu = pytest.importorskip("sacrebleu", reason=REASON)
    pytest.importorskip("MeCab", reason="MeCab comes with sacrebleu[ja]")
    pytest.importorskip("ipadic", reason="the dictionary comes with sacrebleu[ja]")
    expected = [" ".join(sacrebleu.BLEU(tokenize="ja-mecab").tokenizer(s).split()) for s in SENTENCES]
    tokenizer = pickle.loads(pickle.dumps(tokenizer_of("ja-mecab")))
    assert tokenizer(SENTENCES) == expected
    assert expected[3].startswith("犬 が 公園")


@pytest.mark.parametrize("name", ["13a", "intl", "char", "zh"])
def test_bleu_4_over_sacrebleus_words_is_sacrebleus(name):
    """Both have the closest reference length; pycocoevalcap's constants move BLEU by less than 1e-9."""
    sacrebleu = pytest.importorskip("sacrebleu", reason=REASON)
    captions = ["A dog runs in the park, now.", "a red cat sat on that mat", "那只大狗在公园里快跑。"]
    references = [
        ["A dog is running in the park, fast.", "A dog runs in the big park."],
        ["the red cat sat on the mat", "The cat sat on a mat"],
        ["那只狗在公园里跑。", "一只狗在公园里跑步。"],
    ]
    original = sacrebleu.BLEU(tokenize=name, smooth_method="none")
    expected = original.corpus_score(captions, list(zip(*references, strict=True))).score / 100
    found = score(captions, references, metrics="bleu", tokenizer=name)["bleu"]
    assert found.value == pytest.approx(expected, abs=1e-9)
    assert 0.3 < expected < 0.95
    assert f"|tok:{name}(sacrebleu:{sacrebleu.__version__})|" in str(found.signature)
    assert type(found.signature).parse(str(found.signature)) == found.signature


@pytest.mark.parametrize("tokenizer", ["13a", "whitespace", "syllable"])
def test_every_metric_of_words_takes_them(tokenizer):
    if tokenizer in OF_SACREBLEU:
        pytest.importorskip("sacrebleu", reason=REASON)
    captions = ["một con chó đang chạy", "một con mèo ngủ"]
    samples = Samples(captions * 2, references=[[c, "con chó"] for c in captions], item=[0, 1, 1, 0])
    for name in ("bleu", "rouge", "cider(df=references)", "mbleu", "self-cider", "repetition"):
        inside = name.replace("(", f"(tokenizer={tokenizer},") if "(" in name else f"{name}(tokenizer={tokenizer})"
        evaluator = load(inside)
        assert np.isfinite(evaluator(samples).numpy()).all()
        assert f"|tok:{tokenizer}" in str(evaluator.signature())
    for name, expected in (("distinct", 7 / 18), ("vocabulary", 7)):
        assert load(name, tokenizer=tokenizer).corpus(samples).value == expected


def test_frequencies_say_which_words_they_count(tmp_path):
    path = tmp_path / "df.npz"
    samples = Samples(["một con chó"], references=[["Một con chó."]])
    load("cider-d", df="references", tokenizer="syllable").prepare(samples).frequencies.save(path)
    assert DocumentFrequencies.load(path).tokenizer == "syllable"
    assert load("cider-d", df=path, tokenizer="syllable")(samples).item() >= 0
    with pytest.raises(InputError, match=r"counted with syllable; write cider-d\(tokenizer=syllable,df=\.\.\.\)"):
        load("cider-d", df=path, tokenizer="whitespace")


def test_names_without_versions():
    assert name_to_type("13a(sacrebleu:2.6.0)") == "13a"
    assert name_to_type("ja-mecab(sacrebleu:2.6.0)+eos") == "ja-mecab+eos"
    assert same_words("13a(sacrebleu:2.4.0)", "13a(sacrebleu:2.6.0)")
    assert not same_words("13a(sacrebleu:2.6.0)", "intl(sacrebleu:2.6.0)")
    assert not same_words("char(sacrebleu:2.6.0)", "characters")
    assert set(OF_SACREBLEU) < set(SUMMARIES) == set(NAMES)


@pytest.mark.parametrize("name", OF_SACREBLEU)
def test_a_missing_sacrebleu_is_one_sentence(name, monkeypatch):
    hide(monkeypatch, "sacrebleu")
    package = "sacrebleu[ja]" if name == "ja-mecab" else "capreward[languages]"
    with pytest.raises(InputError) as refused:
        score(["a"], [["a"]], metrics="bleu", tokenizer=name)
    message = str(refused.value)
    assert message.startswith(f"the tokenizer {name} needs sacrebleu")
    assert message.endswith(f"type pip install '{package}'")
    assert "\n" not in message


def test_a_missing_mecab_is_one_sentence(monkeypatch):
    pytest.importorskip("sacrebleu", reason=REASON)
    hide(monkeypatch, "sacrebleu", "MeCab")
    importable = [f for f in sys.meta_path if not isinstance(f, Hidden)]
    monkeypatch.setattr(sys, "meta_path", [Hidden("MeCab"), *importable])
    with pytest.raises(InputError, match=r"^the tokenizer ja-mecab needs MeCab .* type pip install 'sacrebleu\[ja\]'$"):
        tokenizer_of("ja-mecab")


def test_a_package_of_another_name_is_listed_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown tokenizer 'v13a'; choose one of ptb, .*, syllable, 13a, intl"):
        tokenizer_of("v13a")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["score", "examples/captions.json", "-r", "examples/references.json", "-q"]]
)
def test_other_tokenizers_import_no_sacrebleu(arguments):
    code = f"import sys\nfrom capreward.commands import main\ntry:\n    main({arguments!r})\nexcept SystemExit as e: print(e.code)\n"
    code += "print([m for m in sys.modules if m == 'sacrebleu' or m.startswith('capreward.text.languages')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "[]"]
