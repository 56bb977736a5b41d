"""API keys open what their scope and tenant say, and nothing else."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from engine.campaign import Advertiser, Publisher
from engine.change import Change
from engine.errors import CatalogError, NotFound
from engine.keys import Caller, KeyTable, create_key, revoke_key, rotate_key
from engine.store import SqliteStore, open_store

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)
chance = random.Random(7).randbytes


@pytest.fixture
def store(tmp_path: Path):
    store = open_store(f"sqlite:///{tmp_path}/tactful.db")
    owners = [
        Publisher("daily", "Daily", ("daily.example",)),
        Advertiser("bikes", "Bikes", ("bikes.example",)),
    ]
    store.write([Change(None, owner) for owner in owners], [], store.versions(), "test", NOW)
    yield store
    store.close()


def test_a_key_says_who_calls(store: SqliteStore):
    text = create_key(store, "advertiser", "bikes", "test", NOW, chance)
    prefix, scope, key_id, secret = text.split("_")
    assert (prefix, scope) == ("tactful", "advertiser")
    assert KeyTable(store.keys()).verify(text, NOW) == Caller("advertiser", "bikes", key_id)
    assert len(secret) == 64


def test_no_secret_is_kept(store: SqliteStore):
    text = create_key(store, "operator", None, "test", NOW, chance)
    secret = text.rpartition("_")[2]
    store.close()
    kept = b"".join(path.read_bytes() for path in store.path.parent.iterdir())
    assert secret.encode() not in kept and bytes.fromhex(secret) not in kept


def test_a_key_that_differs_anywhere_is_refused(store: SqliteStore):
    text = create_key(store, "publisher", "daily", "test", NOW, chance)
    table = KeyTable(store.keys())
    for position, char in enumerate(text):
        other = "0" if char != "0" else "1"
        assert table.verify(text[:position] + other + text[position + 1 :], NOW) is None
    raised = text.replace("publisher", "operator")
    for wrong in (
        "",
        text + "\n",
        text[:-1],
        text + "0",
        " " + text,
        raised,
        text.upper(),
        "tactful___",
        "ä" * 90,
    ):
        assert table.verify(wrong, NOW) is None


def test_a_rotated_key_lives_on_for_its_grace_only(store: SqliteStore):
    old = create_key(store, "publisher", "daily", "test", NOW, chance)
    new = rotate_key(store, old.split("_")[2], timedelta(hours=1), "test", NOW, chance)
    table = KeyTable(store.keys())
    assert table.verify(old, NOW + timedelta(minutes=59)) is not None
    assert table.verify(old, NOW + timedelta(hours=1)) is None
    found = table.verify(new, LATER)
    assert found is not None and (found.scope, found.tenant) == ("publisher", "daily")


def test_rotating_never_lengthens_a_life(store: SqliteStore):
    old = create_key(store, "operator", None, "test", NOW, chance)
    key_id = old.split("_")[2]
    rotate_key(store, key_id, timedelta(hours=1), "test", NOW, chance)
    rotate_key(store, key_id, timedelta(hours=9), "test", NOW, chance)
    assert KeyTable(store.keys()).verify(old, LATER) is None


def test_a_revoked_key_is_refused_at_once_and_workers_hear_of_it(store: SqliteStore):
    text = create_key(store, "compliance", None, "test", NOW, chance)
    before = store.versions()
    revoke_key(store, text.split("_")[2], "test", NOW)
    assert store.versions().keys > before.keys
    assert store.versions().catalog == before.catalog
    assert KeyTable(store.keys()).verify(text, NOW) is None
    with pytest.raises(NotFound):
        rotate_key(store, text.split("_")[2], timedelta(hours=1), "test", NOW, chance)


@pytest.mark.parametrize(
    ("scope", "tenant"),
    [("publisher", None), ("publisher", "bikes"), ("advertiser", "daily"), ("advertiser", "nobody"),
     ("operator", "daily"), ("compliance", "daily"), ("root", None)],
)  # fmt: skip
def test_a_key_for_a_tenant_that_its_scope_does_not_fit_is_not_made(store: SqliteStore, scope, tenant):
    with pytest.raises(CatalogError):
        create_key(store, scope, tenant, "test", NOW, chance)
    assert store.keys() == []


def test_of_its_use_a_key_keeps_the_day_only(store: SqliteStore):
    text = create_key(store, "operator", None, "test", NOW, chance)
    table = KeyTable(store.keys())
    assert table.take_used() == set()
    table.verify(text, NOW)
    used = table.take_used()
    store.touch_keys(used, NOW.date())
    store.touch_keys(used, date(2026, 11, 1))  # a straggler does not turn the day back
    assert [key.last_used_day for key in store.keys()] == [date(2026, 11, 23)]
    assert table.take_used() == set()


def test_the_keys_of_a_tenant_go_with_it(store: SqliteStore):
    text = create_key(store, "advertiser", "bikes", "test", NOW, chance)
    gone = store.find("advertiser", ["bikes"])["bikes"]
    before = store.versions()
    store.write([Change(gone, None)], [], before, "test", NOW)
    assert store.versions().keys > before.keys
    assert KeyTable(store.keys()).verify(text, NOW) is None
