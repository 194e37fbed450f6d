"""The tokenizer against the original, run here: real captions and hostile texts."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from places import DATA
from ptb_fragments import FAMILIES, hostile
from ptb_java import missing, original
from ptb_prose import paragraphs

from capreward.text.ptb_characters import LINE_ENDS
from capreward.text.ptb_tokenizer import PTBTokenizer, tokenize

pytestmark = [pytest.mark.java, pytest.mark.skipif(bool(missing()), reason=missing())]

SEPARATORS = re.compile("[\n\r\x0b\x0c\u2028\u2029]")
SETS = (
    "coco_karpathy_test/refs_5000.json",
    "coco_karpathy_test/outputs/*_*.json",
    "coco_fakecap_1000/*.json",
    "coco_val2017_captions/*.json",
    "coco_photos/captions.json",
    "flickr8k/Flickr8k.token.txt",
    "flickr8k/flickr8k.json",
    "multi30k/task*/raw/*.gz",
    "uit_viic/**/*.json",
    "photos_examples/*/*.json",
)

# Every character below U+3020 but those that end a line, and some above. U+2C2F is a letter to newer Javas only.
CODES = [
    code for code in (*range(1, 0x3020), *range(0x3020, 0xD800, 97), *range(0xF900, 0x10000, 13), 0x10400, 0x1F600)
]
CODES = [code for code in CODES if code not in {*LINE_ENDS, 0x2C2F}]
CONTEXTS = (
    *("b.@The x", "b. The@x", "the '05@x", "No.@5", "a.jpg@x", "www.a.com/x@", "http://a@", "#a@b", "a@.com", "A&@B"),
    *("it@'s", "don@t", "Inc.@x", "Ab.@x", "1@2", "d'@ab", "<a@>", "'n@x", "a_@b", "a-@b", "+@5", " @a.com", "@"),
)
ALPHABETS = (
    ("a1-_\u00ad.'", 5),
    ("a1-\u00ad.,", 5),
    ("aU.-,;\u00ad1", 4),
    ("aA&1/\\\u00ad$+#", 4),
    ("a@.\u00ad-<>:", 4),
    ("1/ -.½(", 5),
    ("aΣ1.-'中", 4),
    ("nN't’as", 5),
    ("\"'`“(. a", 4),
)


def _strings(node: object) -> Iterator[str]:
    """Every string of a JSON document: captions, and names that are as good a test."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from _strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value)


def _captions(path: Path) -> list[str]:
    if path.suffix == ".json":
        texts = list(_strings(json.loads(path.read_text(encoding="utf-8"))))
    elif path.suffix == ".gz":
        texts = gzip.decompress(path.read_bytes()).decode().split("\n")
    else:
        texts = [line.partition("\t")[2] for line in path.read_text(encoding="utf-8").split("\n")]
    return [SEPARATORS.sub(" ", text) for text in texts]


@cache
def _set(pattern: str) -> tuple[str, ...]:
    paths = sorted(DATA.glob(pattern))
    if not paths:
        pytest.skip(f"needs the data folder; {DATA / pattern} is missing (set CAPREWARD_DATA)")
    return tuple(text for path in paths for text in _captions(path))


@pytest.mark.slow
@pytest.mark.parametrize("pattern", SETS)
@pytest.mark.parametrize("apart", [True, False])
def test_real_captions(pattern: str, apart: bool) -> None:
    texts = _set(pattern)
    ours = PTBTokenizer(joined=not apart)(texts)
    theirs = original(texts, apart=apart)
    assert [row for row in zip(texts, theirs, ours, strict=True) if row[1] != row[2]] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_hostile_texts(family: str) -> None:
    texts = hostile(10_000, seed=7, family=family)
    theirs = original(texts)
    different = [(text, old, tokenize(text)) for text, old in zip(texts, theirs, strict=True) if old != tokenize(text)]
    assert different == []


@pytest.mark.parametrize("family", FAMILIES)
def test_hostile_texts_that_see_the_next_one(family: str) -> None:
    texts = hostile(10_000, seed=8, family=family)
    ours = PTBTokenizer(joined=True)(texts)
    theirs = original(texts, apart=False)
    assert [row for row in zip(texts, theirs, ours, strict=True) if row[1] != row[2]] == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_long_descriptions(seed: int) -> None:
    texts = paragraphs(20_000, seed, _set("flickr8k/Flickr8k.token.txt"))
    ours = PTBTokenizer()(texts)
    assert [row for row in zip(texts, original(texts), ours, strict=True) if row[1] != row[2]] == []


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_kind_of_character(context: str) -> None:
    texts = [context.replace("@", chr(code)) for code in CODES]
    theirs = original(texts)
    assert [row for row in zip(texts, theirs, map(tokenize, texts), strict=True) if row[1] != row[2]] == []


@pytest.mark.parametrize("alphabet, length", ALPHABETS)
def test_every_short_text(alphabet: str, length: int) -> None:
    texts = ["".join(characters) for characters in product(alphabet, repeat=length)]
    theirs = original(texts)
    assert [row for row in zip(texts, theirs, map(tokenize, texts), strict=True) if row[1] != row[2]] == []
