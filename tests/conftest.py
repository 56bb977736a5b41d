"""With TACTFUL_REQUIRE_ALL=1 every skip is a failure: where all tools are installed, nothing is left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REQUIRE_ALL = os.environ.get("TACTFUL_REQUIRE_ALL") == "1"


def _required(report):
    if REQUIRE_ALL and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"TACTFUL_REQUIRE_ALL=1, but skipped: {report.longrepr[2]}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """A skipped test."""
    return _required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """A skipped module."""
    return _required((yield))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export the packaged model once for all tests; link or copy the folder into a service's data, never write."""
    from contexts.encoders import open_encoder

    folder = tmp_path_factory.mktemp("models")
    open_encoder(folder)
    return folder
