"""The demo's invented readers take the way of every other, so that what a visitor says may act beside theirs."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.campaign import Publisher
from engine.change import Change
from engine.config import Config
from engine.demo.magazine import CATALOG, read_catalog
from engine.demo.readers import INTERESTS, PUBLISHER, READERS, make_readers
from engine.demo.start import demo_config
from engine.rights import open_rights
from engine.store import open_store
from engine.weeks import Weeks

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday
PLANTED = next(entity for entity in read_catalog(CATALOG) if isinstance(entity, Publisher))


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    made = demo_config(tmp_path, 8137)
    made.data_dir.mkdir()
    with closing(open_store(made.store_url)) as store:
        store.write([Change(None, PLANTED)], [], store.versions(), "test", NOW)
    yield made


def start(config: Config, now: datetime) -> tuple[int, set[str]]:
    """Start the demo's readers and a service's week; return (entries of the log, interests that act)."""
    with closing(open_store(config.store_url)) as store:
        make_readers(config, store, now)
        leaves = store.leaves()
        kinds = [json.loads(leaf)["type"] for leaf in leaves.read(0, leaves.count())]
        assert kinds.index("key.add") < kinds.index("policy.change") < kinds.index("consent.grant")
        with closing(
            Weeks.open(config, store, leaves, now=lambda: now, random_bytes=secrets.token_bytes)
        ) as weeks:
            weeks.tend({PUBLISHER: PLANTED}, {}, now)
            return kinds.count("consent.grant"), {
                interest for interest in INTERESTS if weeks.shared.shared(PUBLISHER, "cohort", interest)
            }


def test_every_interest_acts_from_the_first_start_on(config: Config) -> None:
    assert start(config, NOW) == (READERS, set(INTERESTS))


def test_the_same_readers_are_there_at_the_next_start_and_in_the_next_weeks(config: Config) -> None:
    start(config, NOW)
    assert start(config, NOW + timedelta(minutes=1)) == (READERS, set(INTERESTS))
    assert start(config, NOW + timedelta(days=7)) == (READERS, set(INTERESTS))
    assert start(config, NOW + timedelta(days=60)) == (READERS, set(INTERESTS))  # after a long pause


def test_they_agree_anew_when_their_consent_has_run_out(config: Config) -> None:
    start(config, NOW)
    assert start(config, NOW + timedelta(days=400)) == (2 * READERS, set(INTERESTS))


def test_a_visitor_s_interest_is_not_theirs(config: Config) -> None:
    """They are known by names that no reader gets, and stand in force beside whoever agrees."""
    start(config, NOW)
    with (
        closing(open_store(config.store_url)) as store,
        open_rights(config, store, now=lambda: NOW) as rights,
    ):
        subjects = {subject for _, subject in rights.consents.store.subjects()}
        named = {
            rights.consents.subject_of(PUBLISHER, f"invented-reader-of-the-demo-{number:03d}")
            for number in range(READERS)
        }
    assert subjects == named
