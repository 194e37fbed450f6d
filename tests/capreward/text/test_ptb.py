"""The tokenizer against stored outputs of the original, and what must hold for any text."""

from __future__ import annotations

import json
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import FIXTURES
from ptb_fragments import FAMILIES, hostile
from ptb_prose import paragraphs

from capreward.text.ptb_tokenizer import PTBTokenizer, tokenize, tokens

GOLDEN = json.loads((FIXTURES / "golden_text.json").read_text(encoding="utf-8"))["tokenizer"]
HOSTILE = json.loads((FIXTURES / "ptb_hostile.json").read_text(encoding="utf-8"))

HABITS = json.loads((FIXTURES / "ptb_habits.json").read_text(encoding="utf-8"))

# Fragments reach deeper into the rules than arbitrary characters do.
FRAGMENTS = sorted({fragment for text in FAMILIES.values() for fragment in text.split(" ")})
# Chunks that mean one thing alone and may mean another beside their neighbours.
_LINKED = (
    "K. No. no. fig. b. 5K. isn'tK. c'monK. a.comK. öK. The the Mr. Additionally pro- 5 555 1234 1/2 (555) ) . .. ... <b < > </b> <! a='x' "
    "U.S. - +1 5) ( ' 'n ö 😀 ;) 8) http://x @ x@ Inc. etc. https:// \u00a0 \u2003 ٣ a\u00a0 No.\u00a0 "
)
LINKED = _LINKED.split(" ")
TEXT = st.one_of(st.text(), st.lists(st.sampled_from([*FRAGMENTS, " ", " ", " "])).map("".join))


@pytest.mark.parametrize("text, expected", GOLDEN)
def test_golden(text: str, expected: str) -> None:
    assert tokenize(text) == expected
    assert PTBTokenizer()([text]) == [expected]


def test_hostile_texts() -> None:
    assert len(HOSTILE) > 2000
    different = [(text, expected, tokenize(text)) for text, expected in HOSTILE if tokenize(text) != expected]
    assert different == []
    assert PTBTokenizer()([text for text, _ in HOSTILE]) == [expected for _, expected in HOSTILE]


def test_habits_of_single_words() -> None:
    """A letter gives its dot away before Mr., Ms. and Additionally; pro- and anti- keep a hyphen that dangles."""
    assert ["Panel b.  Mr. x", "panel b mr. x"] in HABITS
    assert ["pro- and x", "pro- and x"] in HABITS
    assert ["AA\xad\xadΣ", "aaς"] in HABITS
    assert [(text, expected, tokenize(text)) for text, expected in HABITS if tokenize(text) != expected] == []
    assert PTBTokenizer()([text for text, _ in HABITS]) == [expected for _, expected in HABITS]


@given(TEXT)
def test_any_text_gives_lower_case_tokens_and_single_spaces(text: str) -> None:
    result = tokenize(text)
    assert result == " ".join(result.split(" "))
    assert not result.startswith(" ")
    assert not any(token in {".", ",", "''", "``", "--", "..."} for token in result.split(" "))
    if text.isascii():
        assert result == result.lower()


@given(TEXT)
def test_surrounding_blanks_do_not_matter(text: str) -> None:
    assert tokenize(f"  {text} \t ") == tokenize(text)


@given(st.lists(TEXT, max_size=4))
def test_fast_path_equals_the_lexer(texts: list[str]) -> None:
    assert PTBTokenizer()(texts) == [tokenize(text) for text in texts]
    assert PTBTokenizer()([" ".join(texts)]) == [tokenize(" ".join(texts))]


def test_fast_path_equals_the_lexer_on_hostile_texts() -> None:
    texts = hostile(20_000, seed=1)
    assert PTBTokenizer()(texts) == [tokenize(text) for text in texts]
    long = [" ".join(texts[i : i + 4]) for i in range(0, len(texts), 4)]
    assert PTBTokenizer()(long) == [tokenize(text) for text in long]
    nexts = [*long[1:], ""]
    assert PTBTokenizer(joined=True)(long) == [tokenize(text, after) for text, after in zip(long, nexts, strict=True)]


@given(st.lists(st.sampled_from(LINKED), max_size=8), st.lists(st.sampled_from(LINKED), max_size=3))
def test_fast_path_sees_over_spaces_what_the_lexer_sees(chunks: list[str], after: list[str]) -> None:
    text, following = " ".join(chunks), " ".join(after)
    assert PTBTokenizer()([text]) == [tokenize(text)]
    assert PTBTokenizer(joined=True)([text, following])[0] == tokenize(text, following)


def test_fast_path_equals_the_lexer_on_long_descriptions() -> None:
    texts = paragraphs(2_000, seed=1, captions=[text for text, _ in GOLDEN])
    assert PTBTokenizer()(texts) == [tokenize(text) for text in texts]


def test_empty_and_very_long_captions() -> None:
    words = ["dog", "naïve,", "No.", "5", "K.", "The", "555", "1234", "can't", "<b>", "."] * 1000
    assert PTBTokenizer()(["", " ".join(words)]) == ["", tokenize(" ".join(words))]


@pytest.mark.parametrize("separator", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\u2028", "\u2029"])
def test_line_separators_are_spaces(separator: str) -> None:
    blanks = " " * len(separator)
    assert tokenize(f"two dogs{separator}and 1{separator}1/2 cats") == tokenize(
        f"two dogs{blanks}and 1{blanks}1/2 cats"
    )
    assert PTBTokenizer()([f"a dog{separator}barks", "a cat"]) == ["a dog barks", "a cat"]


def test_plain_text_is_tokenized_once_and_for_all() -> None:
    for text, _ in GOLDEN[:8]:
        once = tokenize(text)
        assert tokenize(once) == once


def test_tokens_keep_the_punctuation() -> None:
    expected = ["he", "said", ":", "''", "no", "''", ",", "-lrb-", "twice", "-rrb-", "..."]
    assert tokens('He said: "no", (twice)...') == expected


def test_joined_captions_see_the_next_one() -> None:
    captions = ["a big letter K.", "The dog", "a big letter K.", "a dog"]
    assert PTBTokenizer()(captions) == ["a big letter k.", "the dog", "a big letter k.", "a dog"]
    assert PTBTokenizer(joined=True)(captions) == ["a big letter k", "the dog", "a big letter k.", "a dog"]
    titled = ["panel B.", "Mr. Smith", "panel B.", "Dr. Smith"]
    assert PTBTokenizer(joined=True)(titled) == ["panel b", "mr. smith", "panel b.", "dr. smith"]


@pytest.mark.parametrize("joined", [False, True])
def test_pickling_keeps_the_setting_and_drops_the_table(joined: bool) -> None:
    tokenizer = PTBTokenizer(joined=joined)
    fresh = len(pickle.dumps(tokenizer))
    captions = ["the letter K.", "The end"]
    expected = tokenizer(captions)
    assert len(pickle.dumps(tokenizer)) == fresh
    assert pickle.loads(pickle.dumps(tokenizer))(captions) == expected


def test_batches_equal_single_captions() -> None:
    texts = [text for text, _ in GOLDEN]
    tokenizer = PTBTokenizer()
    assert tokenizer(texts) == [tokenizer([text])[0] for text in texts]
    assert tokenizer([]) == []


@pytest.mark.parametrize(
    "piece",
    [
        "a.a.",
        "(",
        "a,",
        "1.a.",
        "<",
        "<a ",
        "<!a",
        '<a b="',
        "www.a-",
        "a@",
        "a'",
        "&",
        "-",
        "a-",
        ". ",
        "100 ",
        "a.,",
        "K. ",
        "<b ",
        "5 5K. ",
        "1\u00ad",
        "A&Ouml;",
        "R&B&Ouml;",
        "x-a.b.-",
        "\u00a0",
        "http://Σ ",
        "Σ.",
        "www.a.",
        "é.",
        "a",
    ],
)
def test_time_grows_with_the_length(piece: str) -> None:
    text = piece * (40_000 // len(piece))
    start = time.process_time()
    tokenize(text)
    PTBTokenizer()([text])
    assert time.process_time() - start < 3  # 0.3 s or less; quadratic time would take minutes
