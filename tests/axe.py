"""axe-core in Chromium: what of WCAG 2.2, A and AA, a page breaks, so far as a tool can see that."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.live import needs_chromium

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
RUN = "tags => axe.run(document, {runOnly: tags}).then(found => found.violations)"


@cache
def script() -> Path | None:
    """Return axe-core as npm installed it globally; None where there is none."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    root = subprocess.run(
        [npm, "root", "--global"], capture_output=True, text=True, check=False
    ).stdout.strip()
    found = Path(root) / "axe-core" / "axe.min.js"
    return found if found.is_file() else None


def needs_axe() -> None:
    """Skip a module where there is no browser or no axe-core."""
    needs_chromium()
    if script() is None and not os.environ.get("TACTFUL_REQUIRE_ALL"):
        pytest.skip("needs axe-core: npm install --global axe-core", allow_module_level=True)


def faults(page: Any) -> list[str]:
    """Return what a page that stands in a window breaks: rule, element and why."""
    source = script()
    assert source is not None, "TACTFUL_REQUIRE_ALL is set, and npm has no axe-core"
    page.evaluate(source.read_text("utf-8"))
    return [
        f"{found['id']} ({found['impact']}): {node['html'][:160]}: {node['failureSummary']}"
        for found in page.evaluate(RUN, TAGS)
        for node in found["nodes"]
    ]
