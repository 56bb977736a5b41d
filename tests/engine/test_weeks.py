"""Weeks are tended by a service's timer; where their files are damaged, pages get their creatives still."""

import secrets
from datetime import timedelta

import pytest

from contexts.first_party import FirstParty
from engine.config import Config
from engine.errors import StoreError
from engine.shared_values import LATE, K
from engine.store import SqliteStore
from engine.store.leaves import KeptLeaves
from engine.weeks import Weeks
from privacy.pseudonym import destroyed_at, epoch_of, epoch_start
from tests.world import NOW, publisher

DAILY = publisher("daily", first_party=FirstParty(cohorts=("sports",)))
CAPS = {"ride": 3}


@pytest.fixture
def config(tmp_path):
    for name in ("data", "keys"):
        (tmp_path / name).mkdir(mode=0o700)
    return Config(data_dir=tmp_path / "data", key_dir=tmp_path / "keys", weather="none")


@pytest.fixture
def store(config):
    store = SqliteStore(config.database)
    yield store
    store.close()


def opened(config, store):
    leaves = KeptLeaves(store)
    return Weeks.open(config, store, leaves, now=lambda: NOW, random_bytes=secrets.token_bytes)


def test_a_week_is_closed_over_the_vocabulary_and_the_caps_of_the_catalogue(config, store):
    weeks = opened(config, store)
    for number in range(K + 60):
        weeks.shared.note("daily", f"{number:064x}", [("cohort", "sports"), ("capped", "ride")], NOW)
    closing = epoch_start(epoch_of(NOW) + 1) + LATE
    weeks.tend({"daily": DAILY, "other": publisher("other")}, CAPS, closing)
    assert weeks.shared.shared("daily", "cohort", "sports")
    assert weeks.shared.shared("daily", "capped", "ride")
    assert store.rows("SELECT count(*) FROM releases") == [(1,)]  # none of a publisher without a vocabulary
    weeks.close()


def test_tending_destroys_the_keys_that_are_due(config, store):
    weeks = opened(config, store)
    weeks.shared.note("daily", "a" * 64, [("cohort", "sports")], NOW)
    (key,) = weeks._keys.file.rows("SELECT key FROM epoch_keys")[0]
    end = destroyed_at(epoch_of(NOW))
    weeks.tend({}, {}, end - timedelta(seconds=1))
    assert key in (config.key_dir / "epochs.db").read_bytes()
    weeks.tend({}, {}, end)
    assert not [path for path in config.key_dir.iterdir() if key in path.read_bytes()]
    weeks.close()


@pytest.mark.parametrize("name", ["keys/epochs.db", "data/shared.db"])
def test_a_damaged_file_is_named(config, store, name):
    path = config.data_dir.parent / name
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(StoreError, match=path.name):
        opened(config, store)
