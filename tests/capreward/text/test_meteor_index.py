"""METEOR's index: built from made-up data files in the real layout, kept, checked and built again."""

from __future__ import annotations

import gzip
import logging
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from capreward.atomic_files import cache_folder
from capreward.errors import InputError
from capreward.text.meteor import MeteorEngine, score_from_statistics
from capreward.text.meteor.array_store import CorruptStoreError, load_arrays, save_arrays
from capreward.text.meteor.phrases import PhraseTable
from capreward.text.meteor.resources import Sources, index_path, installed_sources, load_index
from capreward.text.meteor.words import find_bytes

FILES = {
    "function/english.words": "the\na\n",
    "nonbreaking/english.prefixes": "#comment\nMr\nNo #NUMERIC_ONLY#\n",
    "synonym/english.synsets": "goose\n00000001\nhot_dog\n00000007\nbird\n00000002 00000004\ngander\n00000001\n"
    "box\n00000003\ncrate\n00000003\n",
    "synonym/english.exceptions": "goose\ngeese\nbird\nbirden geese\nunheard\nboxes\n",
}
TRIPLES = [
    ("big dog", "hound"),
    ("big", "large"),
    ("big dog", "a café"),
    ("hound", "big dog"),
    ("big", "huge"),
    ("zebra", "big"),
]


def write_sources(folder: Path, triples: list[tuple[str, str]] = TRIPLES, **files: str) -> Sources:
    folder.mkdir(exist_ok=True)
    sources = Sources(folder / "meteor-1.5.jar", folder / "paraphrase-en.gz")
    with zipfile.ZipFile(sources.jar, "w") as jar:
        for name, text in {**FILES, **files}.items():
            jar.writestr(name, text)
    rows = "".join(f"0.5\n{phrase}\n{paraphrase}\n" for phrase, paraphrase in triples)
    sources.paraphrases.write_bytes(gzip.compress(rows.encode(), mtime=0))
    return sources


@pytest.fixture
def sources(tmp_path):
    return write_sources(tmp_path / "data")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def words_of(arrays):
    return {word.decode() for word in arrays["words"].tolist()}


def test_engine_works_on_any_data_files(sources, cache):
    engine = MeteorEngine(sources, cache)
    rows = [
        ("red big dog", "red hound", [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0]),
        ("red geese", "red bird", [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]),
        ("red geese", "red gander", [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]),
        ("red birdies", "red gander", [0] * 16),
        ("red ganders", "red goose", [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]),
        ("red boxes", "red crate", [0] * 16),
        ("red crates", "red box", [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]),
        ("red large", "red huge", [0] * 16),
    ]
    stats = engine.statistics([row[0] for row in rows], [[row[1]] for row in rows])
    exact = np.array([1, 1, *[0] * 14])
    for row, counts in zip(rows, stats.astype(int).tolist(), strict=True):
        assert (np.array(counts[4:20]) - exact).tolist() == row[2], row
    assert [path.name for path in cache.iterdir()] == [index_path(sources, cache).name]


def test_paraphrases_keep_the_tables_order(sources, cache):
    table = PhraseTable(load_index(sources, cache))
    arrays = load_index(sources, cache)
    number = {word.decode(): place for place, word in enumerate(arrays["words"].tolist())}
    texts = ["big dog", "hound", "a café", "large huge zebra"]
    found = table.find([[number.get(word, -1) for word in text.split()] for text in texts])
    assert [[phrase[:2] for phrase in phrases] for phrases in found] == [
        [(0, 1), (0, 2)],
        [(0, 1)],
        [(0, 2)],
        [(0, 1), (1, 1), (2, 1)],
    ]
    big, big_dog = (phrase[2] for phrase in found[0])
    hound, cafe = found[1][0][2], found[2][0][2]
    large, huge, zebra = (phrase[2] for phrase in found[3])
    references, candidates = np.array([big, big_dog]), np.unique([large, huge, hound, cafe, zebra])
    relations = table.relations(np.unique(references), candidates)
    assert relations.forward == {big: (large, huge), big_dog: (hound, cafe)}
    assert relations.backward == {hound: (big_dog,), zebra: (big,)}


def test_words_can_be_found_again(cache, tmp_path):
    words = ["z", "é", "a", "ab", "日本", "~", "'s", "zz"]
    sources = write_sources(tmp_path / "data", [(word, "b") for word in words])
    arrays = load_index(sources, cache)
    texts = [*sorted(words, key=str.encode), "b", "c", "", "a" * 99]
    found = find_bytes(arrays["words"], [text.encode() for text in texts]).tolist()
    assert [arrays["words"][place].decode() for place in found[:-3]] == texts[:-3]
    assert found[-3:] == [-1, -1, -1]


def test_second_use_reads_the_cache(sources, cache):
    calls: list[tuple[int, int]] = []
    load_index(sources, cache, lambda done, total: calls.append((done, total)))
    size = sources.paraphrases.stat().st_size
    assert calls
    assert calls[-1] == (size, size)
    calls.clear()
    arrays = load_index(sources, cache, lambda done, total: calls.append((done, total)))
    assert calls == []
    assert not arrays["edges"].flags.writeable


def test_changed_data_build_another_index(sources, cache):
    first = index_path(sources, cache)
    load_index(sources, cache)
    write_sources(sources.jar.parent, [*TRIPLES, ("new", "old")])
    assert words_of(load_index(sources, cache)) >= {"new", "old"}
    second = index_path(sources, cache)
    write_sources(sources.jar.parent, [*TRIPLES, ("new", "old")], **{"function/english.words": "an\n"})
    assert len({first, second, index_path(sources, cache)}) == 3


@pytest.mark.parametrize("damage", ["cut", "flip", "header", "empty", "other"])
def test_damaged_index_is_built_again(sources, cache, caplog, damage):
    load_index(sources, cache)
    path = index_path(sources, cache)
    whole = path.read_bytes()
    flipped = {"flip": len(whole) - 70, "header": 40}.get(damage, 0)
    damaged = {"cut": whole[:-64], "empty": b"", "other": b"PK" + whole[2:]}.get(
        damage, whole[:flipped] + bytes([whole[flipped] ^ 1]) + whole[flipped + 1 :]
    )
    path.write_bytes(damaged)
    with pytest.raises(CorruptStoreError):
        load_arrays(path)
    with caplog.at_level(logging.WARNING):
        assert "hound" in words_of(load_index(sources, cache))
    assert "built again" in caplog.text
    assert path.read_bytes() == whole


def test_unwritable_cache_is_said_once_and_survived(sources, tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    engine = MeteorEngine(sources, blocked / "cache")
    with caplog.at_level(logging.WARNING):
        stats = engine.statistics(["a b", "c"], [["a b"], ["c"]])
        engine.statistics(["a b"], [["a b"]])
    assert score_from_statistics(stats).tolist() == [1.0, 1.0]
    assert len(caplog.records) == 1
    assert "CAPREWARD_CACHE" in caplog.text


def test_builders_at_the_same_time_agree(sources, cache):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: words_of(load_index(sources, cache)), range(16)))
    assert all(words == found[0] for words in found)
    assert len(list(cache.iterdir())) == 1


def test_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        save_arrays(tmp_path / "store.bin", {"a": np.arange(3)})
    assert list(tmp_path.iterdir()) == []


def test_references_of_other_data_are_refused(sources, cache, tmp_path):
    prepared = MeteorEngine(sources, cache).prepare_references([["a"]])
    other = MeteorEngine(write_sources(tmp_path / "other", [("x", "y")]), cache)
    with pytest.raises(InputError, match="prepare them again"):
        other.statistics(["a"], prepared)


@pytest.mark.parametrize("damage", ["missing", "not a zip", "no member", "cut gz", "no triple"])
def test_damaged_data_are_named(sources, cache, damage):
    if damage == "missing":
        sources.paraphrases.unlink()
    elif damage == "not a zip":
        sources.jar.write_bytes(b"no zip at all")
    elif damage == "no member":
        with zipfile.ZipFile(sources.jar, "w") as jar:
            jar.writestr("function/english.words", "a\n")
    elif damage == "cut gz":
        sources.paraphrases.write_bytes(sources.paraphrases.read_bytes()[:-12])
    else:
        sources.paraphrases.write_bytes(gzip.compress(b"0.5\nphrase\nparaphrase\n0.5\nrest"))
    with pytest.raises(InputError, match="pip install --force-reinstall pycocoevalcap"):
        load_index(sources, cache)
    assert not cache.exists()


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("CAPREWARD_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("CAPREWARD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "capreward"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "capreward"


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install pycocoevalcap"):
        installed_sources()


@pytest.mark.slow
def test_the_real_table_is_read_whole(cache):
    arrays = load_index(cache=cache)
    assert len(arrays["row_values"]) == 5_274_084
    assert len(arrays["function_words"].tobytes().decode().split()) == 93
    np.testing.assert_array_equal(find_bytes(arrays["words"], arrays["words"].tolist()), np.arange(43_139))
