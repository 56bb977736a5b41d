"""The recorded consent strings of tests/data/iab, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data" / "iab"
_RECORDED = json.loads((FOLDER / "vectors.json").read_text("utf-8"))
VALID: list[dict[str, Any]] = _RECORDED["valid"]
INVALID: list[dict[str, Any]] = _RECORDED["invalid"]


def text(kind: str, name: str) -> str:
    """Return a valid string as it was recorded."""
    (found,) = (vector["text"] for vector in VALID if (vector["kind"], vector["name"]) == (kind, name))
    return found
