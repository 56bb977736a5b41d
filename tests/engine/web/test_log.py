"""The consent log's files over HTTP: who may read them, and nothing but them."""

from __future__ import annotations

import pytest
from werkzeug.test import Client

from engine.config import Config
from engine.web import create_app
from privacy.tiles import Tile
from tests.engine.web.conftest import FakeLog, Service, errors

HASHES = b"h" * 32 * 5


@pytest.fixture
def logged(service: Service) -> Service:
    files = service.services.consent_log.files
    files.put_tiles([(Tile(0, 1234067, 5), HASHES), (Tile(-1, 0), b"\0\1x" * 256)])
    return service


def test_auditors_read_checkpoint_and_tiles_with_their_key(logged: Service) -> None:
    errors(logged.call("GET", "/log/checkpoint", key="compliance"), 404)
    logged.services.consent_log.files.put_checkpoint("ads.example/log\n0\n\n— é\n".encode())
    answer = logged.call("GET", "/log/checkpoint", key="compliance")
    assert answer.data == "ads.example/log\n0\n\n— é\n".encode()
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    answer = logged.call("GET", "/log/tile/0/x001/x234/067.p/5", key="compliance")
    assert answer.data == HASHES
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert logged.call("GET", "/log/tile/entries/000.p/2", key="operator").data == b"\0\1x" * 2


def test_a_shard_is_read_by_its_year(logged: Service) -> None:
    files = logged.services.consent_log.published(2027)
    files.put_tiles([(Tile(0, 0, 5), HASHES)])
    files.put_checkpoint(b"ads.example/log/2027\n0\n\n")
    assert logged.call("GET", "/log/2027/checkpoint", key="compliance").data == b"ads.example/log/2027\n0\n\n"
    answer = logged.call("GET", "/log/2027/tile/0/000.p/5", key="compliance")
    assert (answer.data, answer.headers["Content-Type"]) == (HASHES, "application/octet-stream")
    for path in (
        "2028/checkpoint",
        "2027/tile/0/001",
        "27/checkpoint",
        "2027/2027/checkpoint",
        "x/checkpoint",
    ):
        errors(logged.call("GET", f"/log/{path}", key="compliance"), 404)
    errors(logged.call("GET", "/log/%D9%A2%D9%A0%D9%A2%D9%A7/checkpoint", key="compliance"), 404)


@pytest.mark.parametrize(
    "path",
    [
        "/log/checkpoint",
        "/log/tile/0/x001/x234/067.p/5",
        "/log/2027/checkpoint",
        "/log/2027/tile/0/000.p/5",
    ],
)
def test_nobody_else_reads_a_log_that_is_for_auditors(logged: Service, path: str) -> None:
    errors(logged.client.get(path), 401)
    errors(logged.call("GET", path, key="planet"), 403)
    errors(logged.call("GET", path, key="acme"), 403)


def test_everybody_reads_a_public_one(logged: Service) -> None:
    logged.services.consent_log = FakeLog(logged.services.store.path.parent, public=True)
    client = Client(create_app(Config(), logged.services))
    answer = client.get("/log/tile/0/x001/x234/067.p/5")
    assert answer.data == HASHES
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    "path",
    [
        "0/000",
        "0/x001/x234/067",
        "0/x001/x234/067.p/6",
        "64/000",
        "0/..%2F..%2Fcheckpoint",
        "0/%2e%2e/000",
        "x",
    ],
)
def test_what_is_no_tile_is_not_found(logged: Service, path: str) -> None:
    errors(logged.call("GET", f"/log/tile/{path}", key="compliance"), 404)


def test_files_beside_the_log_are_not_served(logged: Service) -> None:
    (logged.services.consent_log.files.folder / "refused.txt").write_text("x")
    for path in ("refused.txt", ".lock", "tile", "tile/", "tile/0/x001/x234/067.p/5.new"):
        errors(logged.call("GET", f"/log/{path}", key="operator"), 404)
