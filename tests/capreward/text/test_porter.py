"""NLTK's tokenizer and stemmer, rebuilt: published examples, and nltk itself where it is installed."""

from __future__ import annotations

import random

import pytest

from capreward.text.nltk_tokenizer import split_sentences, treebank_tokenize, word_tokenize
from capreward.text.porter_stemmer import porter_stem

# Examples of the paper (Porter 1980), each through the whole algorithm, and of NLTK's documentation.
PAPER = """
caresses:caress ponies:poni caress:caress cats:cat feed:feed agreed:agre plastered:plaster bled:bled motoring:motor
sing:sing conflated:conflat troubled:troubl sized:size hopping:hop tanned:tan falling:fall hissing:hiss fizzed:fizz
failing:fail filing:file happy:happi relational:relat conditional:condit rational:ration valenci:valenc hesitanci:hesit
digitizer:digit conformabli:conform radicalli:radic differentli:differ vileli:vile analogousli:analog
vietnamization:vietnam predication:predic operator:oper feudalism:feudal decisiveness:decis hopefulness:hope
callousness:callous formaliti:formal sensitiviti:sensit sensibiliti:sensibl triplicate:triplic formative:form
formalize:formal electriciti:electr electrical:electr hopeful:hope goodness:good revival:reviv allowance:allow
inference:infer airliner:airlin gyroscopic:gyroscop adjustable:adjust defensible:defens irritant:irrit
replacement:replac adjustment:adjust dependent:depend adoption:adopt homologou:homolog communism:commun activate:activ
angulariti:angular homologous:homolog effective:effect bowdlerize:bowdler probate:probat rate:rate cease:ceas
controll:control roll:roll generalizations:gener oscillators:oscil
"""
NLTK = """
flies:fli dies:die mules:mule denied:deni died:die owned:own humbled:humbl meeting:meet stating:state siezing:siez
itemization:item sensational:sensat traditional:tradit reference:refer colonizer:colon plotted:plot ties:tie tied:tie
sky:sky skies:sky dying:die news:news innings:inning enjoy:enjoy by:by say:say cry:cri spied:spi geology:geolog
proceed:proceed is:is as:as considering:consid sensationally:sensat operationally:oper used:use using:use aging:age IS:is
Cats:cat many:mani grassy:grassi scenery:sceneri
"""


@pytest.mark.parametrize("pair", (PAPER + NLTK).split())
def test_published_stems(pair):
    word, stem = pair.split(":")
    assert porter_stem(word) == stem


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (
            "Good muffins cost $3.88\nin New York.  Please buy me\ntwo of them.\n\nThanks.",
            "Good muffins cost $ 3.88 in New York . Please buy me two of them . Thanks .",
        ),
        ("At eight o'clock on Thursday morning Arthur didn't feel very good.",
         "At eight o'clock on Thursday morning Arthur did n't feel very good ."),
        ("They'll save and invest more.", "They 'll save and invest more ."),
        ("hi, my name can't hello,", "hi , my name ca n't hello ,"),
        ("The 'v', I've been fooled but I'll seek revenge.",
         "The ' v ' , I 've been fooled but I 'll seek revenge ."),
        ("'v' 're'", "' v ' 're '"),
        ("I cannot cannot work under these conditions!", "I can not can not work under these conditions !"),
        ("The company spent $30,000,000 last year.", "The company spent $ 30,000,000 last year ."),
        ("It took 40.75% of it; [a] {b} <c> (d)", "It took 40.75 % of it ; [ a ] { b } < c > ( d )"),
        ("Good muffins cost $3.88 (roughly 3,36 euros)", "Good muffins cost $ 3.88 ( roughly 3,36 euros )"),
        ("wait...what -- no--yes", "wait ... what -- no -- yes"),
        ("man's dog gonna", "man 's dog gon na"),
        ("'tis 'Twas", "'t is 'T was"),
        ("«Ab» “x” ‘y’ a*b #1", "« Ab » “ x ” ‘ y ’ a * b # 1"),
        ("mr. smith of the u.s. sat. he left", "mr. smith of the u.s. sat . he left"),
        ("dogs? cats! a. b", "dogs ? cats ! a. b"),
        ('say "hi" now', "say `` hi '' now"),
        ("", ""),
    ],
)  # fmt: skip
def test_tokens(text, tokens):
    assert word_tokenize(text) == tokens.split()


def test_a_full_stop_inside_is_a_token_where_a_sentence_ends():
    assert split_sentences("two dogs. a cat.\nthe end") == ["two dogs.", "a cat.", "the end"]
    assert word_tokenize("two dogs. a cat") == ["two", "dogs", ".", "a", "cat"]
    assert treebank_tokenize("two dogs. a cat") == ["two", "dogs.", "a", "cat"]


def test_plain_texts_take_the_short_way_to_the_same_tokens():
    draw = random.Random(0)
    pieces = [
        "a",
        "dog",
        "well-lit",
        "3",
        "cannot",
        "gonna",
        "wanna be",
        "d",
        "-",
        "--",
        "lemme",
        "more",
        "got ta",
        "x--y",
    ]
    for _ in range(300):
        text = " ".join(draw.choices(pieces, k=4))
        assert word_tokenize(text) == treebank_tokenize(text)


def test_equal_to_nltk():
    stemmer = pytest.importorskip("nltk.stem").PorterStemmer()
    tokenizer = pytest.importorskip("nltk.tokenize").NLTKWordTokenizer()
    draw = random.Random(0)
    for _ in range(5000):
        word = "".join(draw.choices("aeiouybdlnstzvg'.\"-", k=draw.randint(1, 7))) + draw.choice(
            ["", "ed", "ing", "s", "ies", "ational", "alli", "logi", "ness", "ement", "ion", "ll", "y", "fulli", "ied"]
        )
        assert porter_stem(word) == stemmer.stem(word)
        text = " ".join(draw.choices([word, "cannot", "it's", "(x)", "a,b", '"q"', "end.", "--", "n't", "%"], k=4))
        assert treebank_tokenize(text) == tokenizer.tokenize(text)
