"""A value acts once fifty subjects share it, by the noisy count of the last closed week; not before, not after."""

import json
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from contexts.first_party import FirstParty
from engine.shared_values import LATE, MOST_VALUES, K, SharedValues
from engine.store import SqliteStore
from engine.store.budget import KeptBudget
from engine.store.epochs_sqlite import SqliteEpochKeys
from engine.store.leaves import KeptLeaves
from engine.store.shared_sqlite import SqliteSharedRows
from privacy.errors import NoiseError
from privacy.pseudonym import epoch_of, epoch_start, id_secret

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
NEXT = epoch_start(epoch_of(NOW) + 1) + LATE
WEEK = timedelta(days=7)
PAIRS = FirstParty(cohorts=("many", "few", "none"), loyalty_tiers=("gold",)).pairs(("c1",))
MANY = K + 60  # noise of scale 4 is below -60 once in 7 million draws


class House:
    """The parts of one process."""

    def __init__(self, folder):
        self.store = SqliteStore(folder / "tactful.db")
        self.leaves = KeptLeaves(self.store)
        self.budget = KeptBudget(self.store, folder / "high.txt", self.leaves, lambda: NEXT)
        self.keys = SqliteEpochKeys(folder / "epochs.db", secrets.token_bytes)
        self.rows = SqliteSharedRows(folder / "shared.db")
        self.values = SharedValues(self.rows, self.keys, self.budget)

    def close(self):
        for part in (self.rows, self.keys, self.store):
            part.close()


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    house.close()


def note_many(house, pair=("cohort", "many"), now=NOW, count=MANY):
    for number in range(count):
        house.values.note("daily", f"{number:064x}", [pair], now)


def release(house, publisher="daily"):
    rows = house.store.rows("SELECT body FROM releases ORDER BY at, query")
    return [body for body in map(json.loads, (row[0] for row in rows)) if body.get("publisher") == publisher]


def test_a_value_acts_in_the_week_after_many_shared_it_and_not_before(house):
    note_many(house)
    house.values.tend({"daily": PAIRS}, NOW)
    assert not house.values.shared("daily", "cohort", "many")
    house.values.tend({"daily": PAIRS}, NEXT - timedelta(seconds=1))
    assert not house.values.shared("daily", "cohort", "many")
    house.values.tend({"daily": PAIRS}, NEXT)
    assert house.values.shared("daily", "cohort", "many")
    assert not house.values.shared("weekly", "cohort", "many")
    assert not house.values.shared("daily", "cohort", "unregistered")
    house.values.tend({"daily": PAIRS}, NEXT + WEEK)
    assert not house.values.shared("daily", "cohort", "many")


def test_a_release_tells_every_registered_value_with_noise_at_its_stated_cost(house):
    note_many(house)
    house.values.note("daily", "f" * 64, [("cohort", "dropped")], NOW)
    house.values.tend({"daily": PAIRS}, NEXT)
    (body,) = [found for found in release(house) if found["week"] == "2026-11-23"]
    counts = {(key, value): count for key, value, count in body["counts"]}
    assert set(counts) == set(PAIRS)
    assert ("cohort", "dropped") not in counts
    for pair, true in {("cohort", "many"): MANY, ("cohort", "none"): 0}.items():
        assert abs(counts[pair] - true) <= 64
    assert body["micro_epsilon"] == 1_000_000
    assert house.budget.spent(f"shared-values/daily/{epoch_of(NOW)}") == 1_000_000
    assert b"subject and week" in json.dumps(body).encode()


def test_one_value_of_a_hundred_publishers_releases_varies_as_discrete_laplace_does(house):
    # Scale 4: the mean of 400 zeros is off by more than 1.4 (5 standard errors of 0.28) once in 1.7 million.
    wide = FirstParty(
        cohorts=tuple(f"c{n}" for n in range(16)), loyalty_tiers=tuple(f"t{n}" for n in range(181))
    )
    house.values.tend({"a": wide.pairs(()), "b": wide.pairs(())}, NEXT)
    counts = [count for name in "ab" for body in release(house, name) for *_, count in body["counts"]]
    assert len(counts) == 400
    assert abs(sum(counts) / 400) < 1.4
    assert len(set(counts)) > 4


def test_rows_and_pseudonyms_are_gone_to_the_byte_once_the_week_is_closed(tmp_path, house):
    note_many(house, count=3)
    subjects = [bytes(row[0]) for row in house.rows.file.rows("SELECT subject FROM shared_values")]
    assert len(set(subjects)) == 3
    house.values.tend({"daily": PAIRS}, NEXT)
    assert house.rows.file.rows("SELECT * FROM shared_values") == []
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not [subject for subject in subjects if subject in everything]


def test_processes_close_a_week_once_and_agree(tmp_path, house):
    note_many(house)
    other = House(tmp_path)
    house.values.tend({"daily": PAIRS}, NEXT)
    other.values.tend({"daily": PAIRS}, NEXT)
    assert other.values.shared("daily", "cohort", "many")
    assert len(release(house)) == 1
    assert house.leaves.count() == 1
    other.close()


def test_a_process_that_dies_between_release_and_deletion_leaves_one_release(tmp_path, house, monkeypatch):
    note_many(house)
    monkeypatch.setattr(house.rows, "sweep", lambda before, closed: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        house.values.tend({"daily": PAIRS}, NEXT)
    told = release(house)
    again = House(tmp_path)
    assert again.rows.counts(epoch_of(NOW), "daily")
    again.values.tend({"daily": PAIRS}, NEXT)
    assert release(again) == told
    assert not again.rows.counts(epoch_of(NOW), "daily")
    assert again.values.shared("daily", "cohort", "many")
    again.close()


def test_without_noise_nothing_is_told_and_the_rows_wait(house, monkeypatch):
    note_many(house)
    monkeypatch.setattr("engine.shared_values.laplace", lambda *_: (_ for _ in ()).throw(NoiseError("none")))
    with pytest.raises(NoiseError):
        house.values.tend({"daily": PAIRS}, NEXT)
    assert not house.values.shared("daily", "cohort", "many")
    monkeypatch.undo()
    house.values.tend({"daily": PAIRS}, NEXT)
    assert house.values.shared("daily", "cohort", "many")


def test_rows_that_were_never_released_go_with_the_week_after(house):
    note_many(house, count=2)
    house.values.tend({}, NEXT)
    assert house.rows.counts(epoch_of(NOW), "daily")
    house.values.tend({}, NEXT + WEEK)
    assert not house.rows.counts(epoch_of(NOW), "daily")


def test_a_subject_changes_a_release_by_no_more_than_its_cost_says(house):
    values = [("cohort", name) for name in ("many", "few", "none")] + [("loyalty_tier", "gold")]
    values += [("journey_stage", stage) for stage in ("awareness", "consideration", "decision")]
    for pair in values:
        house.values.note("daily", "a" * 64, [pair], NOW)
    house.values.note("daily", "a" * 64, values, NOW)
    assert sum(house.rows.counts(epoch_of(NOW), "daily").values()) == MOST_VALUES


def test_a_forgotten_subject_is_no_longer_counted(house):
    note_many(house, count=2)
    assert house.values.forget("daily", f"{1:064x}", NOW) == 1
    assert house.rows.counts(epoch_of(NOW), "daily") == {("cohort", "many"): 1}
    assert house.values.forget("daily", f"{1:064x}", NOW) == 0


def test_a_forgotten_subject_is_forgotten_in_the_week_before_too(house):
    note_many(house, count=2)
    just_over = epoch_start(epoch_of(NOW) + 1)
    note_many(house, count=2, now=just_over)
    assert house.values.forget("daily", f"{1:064x}", just_over) == 2


def test_subjects_with_one_address_count_as_one_person(house):
    person = id_secret("email", "Jane.Doe@gmail.com")
    for number in range(5):
        subject = f"{number:064x}"
        house.values.note("daily", subject, [("cohort", "many")], NOW, person=person)
    assert house.rows.counts(epoch_of(NOW), "daily") == {("cohort", "many"): 1}
    assert not [row for row in house.rows.file.rows("SELECT person FROM shared_values") if b"jane" in row[0]]


def test_nothing_noted_writes_nothing(house):
    house.values.note("daily", "a" * 64, [], NOW)
    assert house.keys.file.rows("SELECT * FROM epoch_keys") == []
    assert house.rows.file.rows("SELECT * FROM shared_values") == []
