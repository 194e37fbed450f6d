"""``python -m trainers.commands.schemas``: write the JSON Schemas of the configurations of runs for editors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from trainers.runs.config_schema import described, run_schema
from trainers.tuning.config import TuneConfig
from trainers.tuning.objective import OBJECTIVES


def schemas() -> dict[str, dict[str, Any]]:
    """The schemas by the names of their files: of ``capreward train`` and of ``capreward tune``."""
    return {"run.json": run_schema(), "tune.json": described(TuneConfig, {"objective": OBJECTIVES})}


def write(folder: Path) -> None:
    """Write all schemas into a folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        text = json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=False)
        (folder / name).write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "schemas"))
