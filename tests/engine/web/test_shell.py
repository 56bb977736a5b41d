"""Routes that are looked up are the ones that would have been matched."""

from __future__ import annotations

import pytest
from flask import Request
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import MapAdapter
from werkzeug.test import EnvironBuilder

from engine.web.shell import Routes, Shell


@pytest.fixture
def shell() -> Shell:
    shell = Shell("t", "http://t.example/under")
    for rule, name, methods in (
        ("/v1/events", "beacon", ["POST"]),
        ("/v1/events", "preflight", ["OPTIONS"]),
        ("/v1/events/<token>", "one", ["POST"]),
        ("/v1/events/all", "all", ["POST"]),
        ("/", "front", ["GET"]),
    ):
        shell.add_url_rule(rule, name, lambda: "", methods=methods, provide_automatic_options=False)
    return shell


def found(adapter: MapAdapter) -> object:
    try:
        rule, values = adapter.match(return_rule=True)
    except (NotFound, MethodNotAllowed) as error:
        return type(error)
    return rule.endpoint, values


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "post", "PUT"])
@pytest.mark.parametrize(
    "path",
    "/ | /v1/events | //v1/events | /v1/events/ | /v1//events | /v1/events/all | /v1/events/x | /V1/events".split(
        " | "
    ),
)
def test_lookup_and_match_find_the_same_route(shell, path, method):
    adapter = shell.create_url_adapter(Request(EnvironBuilder(path=path, method=method).get_environ()))
    assert isinstance(adapter, Routes)
    adapter.path_info = path
    matched = MapAdapter(shell.url_map, "t.example", "/under", "", "http", path, method, "")
    assert found(adapter) == found(matched)


def test_fixed_paths_are_looked_up(shell, monkeypatch):
    adapter = shell.create_url_adapter(
        Request(EnvironBuilder(path="/v1/events", method="POST").get_environ())
    )
    monkeypatch.setattr(shell.url_map._matcher, "match", lambda *args: pytest.fail("matched"))
    assert found(adapter) == ("beacon", {})
