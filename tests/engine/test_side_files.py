"""What is destroyed in the files beside the store leaves no byte behind, also while others have them open."""

import os
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from engine.errors import StoreError
from engine.store.epochs_sqlite import SqliteEpochKeys
from engine.store.shared_sqlite import SqliteSharedRows
from privacy.errors import KeyDestroyed
from privacy.pseudonym import Pseudonym, destroyed_at, epoch_of, pseudonym_in

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


def bytes_of(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def stands():
    """The consent whose values are noted stands all the while."""
    return True


@pytest.fixture
def keys(tmp_path):
    keys = SqliteEpochKeys(tmp_path / "epochs.db", secrets.token_bytes)
    yield keys
    keys.close()


def test_processes_draw_one_key_for_a_week(tmp_path, keys):
    other = SqliteEpochKeys(tmp_path / "epochs.db", secrets.token_bytes)
    epoch = epoch_of(NOW)
    assert keys.key(epoch, NOW) == other.key(epoch, NOW) == keys.key(epoch, NOW + WEEK)
    assert keys.key(epoch + 1, NOW + WEEK) != keys.key(epoch, NOW)
    other.close()


def test_a_key_is_drawn_while_its_week_runs_and_never_after(keys):
    with pytest.raises(KeyDestroyed):
        keys.key(epoch_of(NOW), NOW + WEEK)
    with pytest.raises(KeyDestroyed):
        keys.key(epoch_of(NOW) + 1, NOW)


def test_a_key_is_gone_to_the_byte_seven_days_after_its_week(tmp_path, keys):
    other = SqliteEpochKeys(tmp_path / "epochs.db", secrets.token_bytes)
    epoch = epoch_of(NOW)
    key, end = keys.key(epoch, NOW), destroyed_at(epoch)
    assert other.key(epoch, NOW) == key
    assert key in bytes_of(tmp_path)
    assert keys.destroy(end - timedelta(seconds=1)) == 0
    assert keys.key(epoch, end - timedelta(seconds=1)) == key
    following = keys.key(epoch + 2, end)
    assert keys.destroy(end) == 1
    assert key not in bytes_of(tmp_path)
    assert following in bytes_of(tmp_path)
    for process in (keys, other):  # also where it was handed out before
        with pytest.raises(KeyDestroyed):
            process.key(epoch, end)
        with pytest.raises(KeyDestroyed):
            pseudonym_in(process, epoch, "p", "a", b"s", end)
    other.close()


def test_a_destruction_that_a_reader_kept_from_ending_is_told_and_ended_later(tmp_path, keys):
    epoch = epoch_of(NOW)
    key, end = keys.key(epoch, NOW), destroyed_at(epoch)
    other = SqliteEpochKeys(tmp_path / "epochs.db", secrets.token_bytes)
    with keys.file._connections.lent() as db:
        db.execute("PRAGMA busy_timeout = 50")
    with other.file._connections.lent() as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM epoch_keys").fetchone()
        with pytest.raises(StoreError, match="try again"):
            keys.destroy(end)
        assert key in bytes_of(tmp_path)
        reader.execute("COMMIT")
    keys.destroy(end)
    assert key not in bytes_of(tmp_path)
    other.close()


def test_the_files_are_readable_for_their_owner_alone(tmp_path, keys):
    keys.key(epoch_of(NOW), NOW)
    for path in tmp_path.iterdir():
        assert os.stat(path).st_mode & 0o077 == 0, path.name


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "epochs.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match=r"epochs\.db"):
        SqliteEpochKeys(tmp_path / "epochs.db", secrets.token_bytes)


def test_rows_of_a_forgotten_subject_are_gone_to_the_byte(tmp_path):
    rows = SqliteSharedRows(tmp_path / "shared.db")
    gone, stays = (Pseudonym(secrets.token_bytes(16)) for _ in range(2))
    for subject in (gone, stays):
        rows.note(5, "daily", subject, subject, {("cohort", "a"): b"1", ("cohort", "b"): b"2"}, 4, stands)
    assert rows.counts(5, "daily") == {("cohort", "a"): 2, ("cohort", "b"): 2}
    assert gone in bytes_of(tmp_path)
    assert rows.forget("daily", [(5, Pseudonym(secrets.token_bytes(16)))]) == 0
    assert rows.forget("daily", [(4, gone), (5, gone)]) == 2
    assert gone not in bytes_of(tmp_path)
    assert stays in bytes_of(tmp_path)
    assert rows.counts(5, "daily") == {("cohort", "a"): 1, ("cohort", "b"): 1}
    rows.close()


def test_of_a_subjects_values_only_the_lowest_ranks_are_kept_in_whatever_order_they_come(tmp_path):
    rows = SqliteSharedRows(tmp_path / "shared.db")
    ranks = {("cohort", str(n)): bytes([n]) for n in range(9)}
    subject = Pseudonym(secrets.token_bytes(16))
    for pair in sorted(ranks, key=lambda pair: ranks[pair], reverse=True):
        rows.note(5, "daily", subject, subject, {pair: ranks[pair]}, 4, stands)
        rows.note(5, "daily", subject, subject, {pair: ranks[pair]}, 4, stands)
    assert set(rows.counts(5, "daily")) == {("cohort", str(n)) for n in range(4)}
    rows.close()


def test_two_subjects_of_one_person_count_once(tmp_path):
    rows = SqliteSharedRows(tmp_path / "shared.db")
    person = Pseudonym(secrets.token_bytes(16))
    for _ in range(3):
        rows.note(5, "daily", Pseudonym(secrets.token_bytes(16)), person, {("cohort", "a"): b"1"}, 4, stands)
    assert rows.counts(5, "daily") == {("cohort", "a"): 1}
    rows.close()


def test_a_person_is_gone_to_the_byte_with_the_last_of_their_subjects(tmp_path):
    rows = SqliteSharedRows(tmp_path / "shared.db")
    person, first, second = (Pseudonym(secrets.token_bytes(16)) for _ in range(3))
    for subject in (first, second):
        rows.note(5, "daily", subject, person, {("cohort", "a"): b"1"}, 4, stands)
    rows.forget("daily", [(5, first)])
    assert first not in bytes_of(tmp_path)
    assert person in bytes_of(tmp_path)
    rows.forget("daily", [(5, second)])
    assert person not in bytes_of(tmp_path)
    rows.close()


def test_rows_go_to_the_byte_also_among_many(tmp_path):
    rows = SqliteSharedRows(tmp_path / "shared.db")
    subjects = [Pseudonym(secrets.token_bytes(16)) for _ in range(600)]
    for subject in subjects:
        rows.note(5, "daily", subject, subject, {("cohort", "a"): subject[:8]}, 4, stands)
    for subject in subjects[::10]:
        rows.forget("daily", [(5, subject)])
    left = bytes_of(tmp_path)
    assert not [subject for subject in subjects[::10] if subject in left]
    assert rows.counts(5, "daily") == {("cohort", "a"): 540}
    rows.sweep(6, [])
    left = bytes_of(tmp_path)
    assert not [subject for subject in subjects if subject in left]
    rows.close()
