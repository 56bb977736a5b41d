"""Readers of the real service who differ in everything but the visit leave the same bytes behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.prove.no_identity import prove
from engine.prove.service import real_service, requests
from engine.prove.twins import MakeService


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> MakeService:
    return real_service(tmp_path_factory.mktemp("models"))


def test_no_reader_leaves_a_trace_in_the_service(make: MakeService, tmp_path: Path) -> None:
    verdict = prove(make, requests()[:2], tmp_path)
    assert verdict.unsteady == ()
    assert verdict.leaks == ()
    assert verdict.cases > 1000


@pytest.mark.parametrize("plant", ["cookie", "page-query-in-the-log", "hashed-address-in-a-file"])
def test_a_leak_around_the_service_is_found(make: MakeService, tmp_path: Path, plant: str) -> None:
    assert prove(make, requests()[:1], tmp_path, plant=plant, most=1).leaks
