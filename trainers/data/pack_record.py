"""The record ``NAME.pack.json``, which tells how a set of shards was made and which of its shards are complete."""

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
    """The record of a set of shards.

    Attributes:
        path: The path of the record.
        settings: The settings that the bytes of the shards depend on.
        shards: The SHA-256, size and counts of each shard that is written.
    """

    path: Path
    settings: dict[str, Any]
    shards: dict[str, dict[str, Any]]

    @staticmethod
    def begin(folder: Path, name: str, settings: dict[str, Any], shards: list[str]) -> PackRecord:
        """Open the record of a set or begin it, and remove half-written files of a run that was killed.

        Raises:
            InputError: The folder cannot be made, or it holds shards of that name that belong to another set.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
        path = folder / f"{name}.pack.json"
        record = PackRecord(path, settings, {})
        if path.exists():
            record.shards = _read_shards(path, settings, name)
        else:
            there = next((folder / shard for shard in shards if (folder / shard).exists()), None)
            if there is not None:
                raise InputError(f"{there} is there already and {path} is not; choose another --name, or remove it")
            record._write()
        for left in folder.glob(f".{name}-*.tar.*"):
            left.unlink(missing_ok=True)
        return record

    def is_whole(self, shard: str) -> bool:
        """Return whether a shard exists with the bytes that were recorded."""
        entry, path = self.shards.get(shard), self.path.parent / shard
        if entry is None or not path.is_file() or path.stat().st_size != entry["size"]:
            return False
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == str(entry["sha256"])

    def add(self, shard: str, entry: dict[str, Any]) -> None:
        """Record a shard that is written.

        Raises:
            InputError: The record cannot be written.
        """
        self.shards[shard] = entry
        self._write()

    def _write(self) -> None:
        content = {"format": FORMAT, "settings": self.settings, "shards": dict(sorted(self.shards.items()))}
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        write_beside(self.path, lambda beside: _write_text(beside, text))


def _read_shards(path: Path, settings: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        recorded, shards = content["settings"], content["shards"]
        if content["format"] != FORMAT or not all({"sha256", "size", "left_out"} <= set(s) for s in shards.values()):
            raise ValueError("another format")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is damaged; remove it with the shards {name}-*.tar, or choose another --name"
        ) from error
    for field, value in settings.items():
        if recorded.get(field) != value:
            was = f" {recorded.get(field)}" if field != "data" else ""
            raise InputError(
                f"{path.parent} has shards {name} of other settings: {WORDS.get(field, f'--{field}')} differ"
                f"{'s from the recorded' + was if was else ''}; choose another --name, or remove them"
            )
    return dict(shards)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
