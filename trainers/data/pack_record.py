"""``NAME.pack.json``: what a set of shards is made of, and which of its shards are whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capreward.atomic_files import write_beside
from capreward.errors import InputError

FORMAT = 1
WORDS = {"data": "the captions", "shard_size": "--shard-size"}


@dataclass
class PackRecord:
    """The record of a set.

    Attributes:
        path: of the record.
        settings: what the bytes of the shards depend on.
        shards: per shard that is written, its SHA-256, size and counts.
    """

    path: Path
    settings: dict[str, Any]
    shards: dict[str, dict[str, Any]]

    @staticmethod
    def begin(folder: Path, name: str, settings: dict[str, Any], shards: list[str]) -> PackRecord:
        """Open the record of a set or begin it, and remove what a killed run left half written.

        Raises:
            InputError: the folder cannot be made, or holds shards of that name that are of another set.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
        path = folder / f"{name}.pack.json"
        record = PackRecord(path, settings, {})
        if path.exists():
            record.shards = _recorded(path, settings, name)
        else:
            there = next((folder / shard for shard in shards if (folder / shard).exists()), None)
            if there is not None:
                raise InputError(f"{there} is there already and {path} is not; choose another --name, or remove it")
            record._write()
        for left in folder.glob(f".{name}-*.tar.*"):
            left.unlink(missing_ok=True)
        return record

    def is_whole(self, shard: str) -> bool:
        """Whether a shard is there with the bytes that were recorded."""
        known, path = self.shards.get(shard), self.path.parent / shard
        if known is None or not path.is_file() or path.stat().st_size != known["size"]:
            return False
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == str(known["sha256"])

    def add(self, shard: str, told: dict[str, Any]) -> None:
        """Record a shard that is written.

        Raises:
            InputError: the record cannot be written.
        """
        self.shards[shard] = told
        self._write()

    def _write(self) -> None:
        content = {"format": FORMAT, "settings": self.settings, "shards": dict(sorted(self.shards.items()))}
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        write_beside(self.path, lambda beside: _text(beside, text))


def _recorded(path: Path, settings: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known, shards = found["settings"], found["shards"]
        if found["format"] != FORMAT or not all({"sha256", "size", "left_out"} <= set(s) for s in shards.values()):
            raise ValueError("another format")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is damaged; remove it with the shards {name}-*.tar, or choose another --name"
        ) from error
    for field, value in settings.items():
        if known.get(field) != value:
            was = f" {known.get(field)}" if field != "data" else ""
            raise InputError(
                f"{path.parent} has shards {name} of other settings: {WORDS.get(field, f'--{field}')} differ"
                f"{'s from the recorded' + was if was else ''}; choose another --name, or remove them"
            )
    return dict(shards)


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
