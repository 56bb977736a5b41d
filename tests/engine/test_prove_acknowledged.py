"""Real workers over real stores, killed under load: nothing that was acknowledged is missing, and a lie is found."""

import json

import pytest

from engine.errors import ProofError
from engine.prove.acknowledged import _run, prove_acknowledged
from engine.store import open_store


def test_nothing_acknowledged_is_missing_from_the_file(models):
    verdict = prove_acknowledged(models, 20_000, 3, planted=False)
    told = json.loads(next(verdict.lines()))
    assert told["holds"], told
    assert (told["store"], told["acknowledged"], told["missing"]) == ("sqlite", 20_000, 0)
    assert told["killed"] >= 4  # two workers, and once all processes


def test_nothing_acknowledged_is_missing_from_the_database(models, postgres):
    with postgres.database() as url:
        verdict = prove_acknowledged(models, 20_000, 3, url, planted=False)
        assert verdict.holds, verdict
        assert (verdict.store, verdict.acknowledged) == ("postgresql", 20_000)
        assert verdict.killed >= 4


def test_a_service_that_acknowledges_too_early_is_found(models):
    assert _run(models, 40_000, 3, None, planted=True).missing


def test_a_database_with_events_is_left_alone(models, postgres):
    with postgres.database() as url:
        store = open_store(url)
        with store.writing() as db:
            db.execute(
                "INSERT INTO events (view, slot, kind, day, publisher, section, topic, campaign, creative, device,"
                " part, weather, ivt, price_micros) VALUES ('v', 0, 'click', 1, '', '', '', '', '', '', '', '', 0, 0)"
            )
        store.close()
        with pytest.raises(ProofError, match="name an empty one"):
            prove_acknowledged(models, 1000, 0, url, planted=False)
