"""The original tokenizer in one process: many lines in, as many lines out."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

REMOVED = {"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";", ""}
_NEUTRAL = "zz qq"  # a line that starts no sentence, so that no caption can see the next one


def missing() -> str:
    """Why the original cannot run here; empty when it can."""
    if shutil.which("java") is None:
        return "needs Java (a java program on PATH)"
    return "" if find_spec("pycocoevalcap") else "needs pycocoevalcap, which carries the original tokenizer"


def original(texts: Sequence[str], apart: bool = True) -> list[str]:
    """The tokens that the original keeps of each text, which must not hold line separators.

    ``apart`` puts a neutral line after each text; without it they follow each other as captions do in an evaluation.
    """
    spec = find_spec("pycocoevalcap")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    jar = Path(spec.submodule_search_locations[0], "tokenizer", "stanford-corenlp-3.4.1.jar")
    separator = f"\n{_NEUTRAL}\n" if apart else "\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "captions")
        path.write_bytes((separator.join(texts) + separator).encode())
        command = ["java", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
        run = subprocess.run([*command, str(path)], capture_output=True, check=True, env=os.environ)
    lines = run.stdout.decode().split("\n")
    lines = lines[::2][: len(texts)] if apart else lines[: len(texts)]
    assert len(lines) == len(texts)
    return [" ".join(token for token in line.rstrip().split(" ") if token not in REMOVED) for line in lines]
