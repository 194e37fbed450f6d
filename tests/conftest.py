"""What the tests share."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import settings
from places import DATA, FIXTURES

settings.register_profile("capreward", deadline=None, max_examples=int(os.environ.get("CAPREWARD_EXAMPLES", "60")))
settings.load_profile("capreward")


@pytest.fixture(scope="session")
def golden():
    """Outputs of pycocoevalcap 1.2 on captions written for the purpose."""
    return json.loads((FIXTURES / "golden_text.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real captions and judgements; tests that need it are skipped without it."""
    if not DATA.is_dir():
        pytest.skip(f"no caption data in {DATA}; set CAPREWARD_DATA")
    return DATA
