"""Invoices and refunds by command."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from engine.change import Change
from engine.cli import main
from engine.events import EPOCH, Event, Row
from engine.store import open_store
from tests.world import advertiser, campaign

MONTH = "2026-02"
DAY = datetime(2026, 2, 3, tzinfo=UTC).toordinal() - EPOCH


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("TACTFUL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TACTFUL_KEY_DIR", str(tmp_path / "keys"))
    (tmp_path / "data").mkdir()
    store = open_store(f"sqlite:///{tmp_path / 'data' / 'tactful.db'}")
    things = [Change(None, one) for one in (advertiser(), campaign(), campaign("quiet"))]
    store.write(things, [], store.versions(), "test", datetime.now(UTC))
    context = ("planet", "sport", "483", "spring", "spring-1", "phone", "evening", "rain", 0, 1_234_567)
    rows = [Row(bytes([n]) * 16, 0, "impression", DAY, *context) for n in range(3)]
    store.events().keep([Event(row, DAY, 0) for row in rows])
    now = datetime.now(UTC)
    today = now.toordinal() - EPOCH
    store.events().keep([Event(rows[0]._replace(view=b"t" * 16, day=today), today, 0)])
    store.close()

    def run(*words: str):
        return CliRunner().invoke(main, list(words))

    yield run


def test_an_invoice_tells_every_campaign_that_was_billed(run):
    told = run("invoice", MONTH)
    assert told.exit_code == 0, told.output
    assert "spring (acme), 2026-02 in UTC" in told.output
    assert "3 x impression: 3.703701 EUR" in told.output
    assert "do not reconcile" in told.output
    assert "quiet" not in told.output
    (one,) = json.loads(run("invoice", MONTH, "--json").output)
    assert (one["micros"], one["due_micros"], one["final"]) == (3_703_701, 3_703_701, True)


def test_a_month_that_runs_is_told_where_it_is_asked_for(run):
    month = datetime.now(UTC).strftime("%Y-%m")
    told = run("invoice", month)
    assert told.exit_code == 1 and "1.234567" not in told.output
    told = run("invoice", month, "--running")
    assert told.exit_code == 0 and "1.234567" in told.output and "(so far)" in told.output


@pytest.mark.parametrize("words", [("2026-13",), ("february",), (MONTH, "--campaign", "nobody")])
def test_what_there_is_none_of_is_said(run, words):
    assert run("invoice", *words).exit_code in (1, 2)


def test_a_refund_is_written_once_and_the_books_agree(run):
    words = ("money", "refund", "spring", MONTH, "703701", "--key", "r1", "--reason", "a fault of ours")
    assert run(*words).exit_code == 0
    assert "nothing was changed" in run(*words).output
    assert "due: 3.000000 EUR" in run("invoice", MONTH).output
    assert run(*words[:4], "9000000", *words[5:6], "r2", *words[7:]).exit_code == 1
    told = run("money", "check", "--json")
    assert (told.exit_code, json.loads(told.output)) == (0, {"agree": True, "faults": []})
