"""Damaged files: whatever a file holds, the reader answers with captions or with one sentence, soon and in little memory."""

from __future__ import annotations

import gzip
import importlib.util
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from places import ROOT, TESTS
from test_caption_files import in_every_format, tar_bytes
from test_case_siblings import workbook

from capreward.data.caption_files import read_captions, read_captions_with_references, read_references
from capreward.errors import InputError

SNIPPETS = [
    b"[", b"{", b'"', b"'", b"\x00", b",", b"|", b"\t", b"\n", b"\r", b"[[[[[[[[", b'["', b"['a' 'b']", b"array([", b"(",
    b"1e999", b"9" * 400, b"NaN", b"null", b"\xff\xfe", b"\xef\xbb\xbf", b"\\ud83d", b"id", b"caption_1", b"prediction",
    b"#0", b"\xf0\x9f\x90\x95", b"</s>", b"nan", b'""', b"{}", b"image", b"references",
]  # fmt: skip
FORMATS = [None, None, None, None, "csv", "tsv", "psv", "ssv", "jsonl", "id-text", "text", "wrapped", "columns", "dict"]
LONGEST = 20.0  # seconds for one file of some kilobytes, on a busy machine
MEMORY = 6 << 30  # bytes of address space, most of which torch's and pyarrow's libraries map


def seeds():
    """Files to damage: every format, and the shapes that people have."""
    files = list(in_every_format([("1", "a dog runs"), ("2", 'he said "hi"'), ("3", "a cat")]).values())
    files += [
        tar_bytes([("1.txt", b"a dog"), ("2.json", b'{"caption": "a cat"}')]),
        gzip.compress(b"image_id,caption\n1,a dog\n2,a cat\n"),
        b'id|caption_1|caption_2\n1|a dog|the dog\n2|a cat|["a", "b"]\n',
        b"image_id;answer;prediction\n1;\"['a dog', 'the dog']\";a dog\n2;['a cat'];a cat\n",
        b"101.jpg#0 a dog\n101.jpg#1 the dog\n102.jpg: a cat\n",
        b'{"videos": [{"video_id": "v", "split": "test"}], "sentences": [{"video_id": "v", "caption": "a"}]}',
        b'{"overall": {}, "imgToEval": {"1": {"image_id": 1, "caption": "a dog"}}}',
        b'{"image_id": [1, 2], "caption": ["a dog", "a cat"]}',
        b'{"columns": ["id", "caption"], "index": [0], "data": [[1, "a dog"]]}',
    ]
    if importlib.util.find_spec("openpyxl"):
        files.append(workbook([["image_id", "caption"], [1, "a dog"], [2, "a cat"]]))
    cases = Path(os.environ.get("CAPREWARD_CASES", ROOT.parent / "shared" / "cases"))
    if cases.is_dir():
        files += [path.read_bytes() for path in sorted(cases.glob("F*")) if path.suffix not in (".py", ".p")]
    return files


def damaged(data, lot):
    """One to four wounds: bytes changed, cut out, doubled, or something put in."""
    found = bytearray(data)
    for _ in range(lot.randint(1, 4)):
        place = lot.randrange(len(found) + 1)
        wound = lot.randrange(5)
        if wound == 0 and found:
            found[place % len(found)] = lot.randrange(256)
        elif wound == 1:
            del found[place : place + lot.randint(1, 40)]
        elif wound == 2:
            found[place:place] = found[place : place + lot.randint(1, 200)]
        elif wound == 3:
            found[place:place] = lot.choice(SNIPPETS) * lot.choice([1, 1, 1, 50])
        else:
            del found[place:]
    return bytes(found)


def refusal(read, path, form):
    """What the reader says against the file; nothing if it reads it."""
    try:
        read(path, format=form)
    except InputError as error:
        return str(error)
    return ""


def read_all(count, first=0, folder=Path()):
    """Read damaged files in every role; the number that could be read."""
    files, path, good = seeds(), folder / "damaged", 0
    for seed in range(first, first + count):
        lot = random.Random(seed)
        path.write_bytes(damaged(lot.choice(files), lot))
        form = lot.choice(FORMATS)
        start = time.monotonic()
        for read in (read_captions, read_references, read_captions_with_references):
            sentence = refusal(read, path, form)
            assert "\n" not in sentence, f"seed {seed}: {sentence}"
            assert sentence == "" or str(path) in sentence, f"seed {seed}: {sentence}"
            good += sentence == ""
        assert time.monotonic() - start < LONGEST, f"seed {seed}"
    return good


def test_no_damage_is_a_traceback(tmp_path):
    assert read_all(500, folder=tmp_path) > 20


@pytest.mark.slow
def test_twenty_thousand_damaged_files(tmp_path):
    """In a process that may not have more memory than reading takes."""
    code = (
        "import resource, sys; from pathlib import Path; "
        f"resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY})); "
        f"from test_reading_damage import read_all; print(read_all(20_000, folder=Path({str(tmp_path)!r})))"
    )
    paths = [str(Path(__file__).parent), str(TESTS / "helpers"), str(ROOT)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 1_000
