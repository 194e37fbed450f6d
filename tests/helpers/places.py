"""Where the tests find things."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
FIXTURES = TESTS / "fixtures"
DATA = Path(os.environ.get("CAPREWARD_DATA", ROOT.parent / "shared" / "data"))  # real captions; may be missing
