"""What is over goes: every declared retention that ends by itself, one test each; what is restored stays erased."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from contexts.context import PageFacts
from engine.backup import backup, restore
from engine.change import Change
from engine.consents import Reconciled
from engine.creative import Image
from engine.errors import NotFound, StoreError
from engine.events import Asked, Event, Row, day_of
from engine.images import HostedImage
from engine.keys import create_key, revoke_key
from engine.money import Caps, Use
from engine.purge import purge
from engine.rights import open_rights
from engine.store.events_sqlite import SqliteEvents
from engine.store.money_sqlite import SqliteMoney
from engine.store.subjects_sqlite import copied_on
from tests.rights import SUB, Chance, Desk
from tests.world import NOW, advertiser, campaign, creative

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def purged(desk: Desk, copies: Path | None = None) -> dict[str, int]:
    with open_rights(desk.config, desk.store, now=lambda: desk.now, random_bytes=Chance("purge")) as rights:
        return purge(desk.config, rights, desk.now, copies)


def rows(desk: Desk, table: str) -> int:
    return desk.store.rows(f"SELECT count(*) FROM {table}")[0][0]


def test_pages_and_their_urls_go_after_their_days(desk):
    desk.store.put_pages([PageFacts(content_hash="c", encoder_id="e", vector=None)], NOW)
    desk.store.put_page_urls([("planet", "u", "c")], NOW)
    desk.now += 29 * DAY
    assert purged(desk)["pages"] == 0
    desk.now += 2 * DAY
    gone = purged(desk)
    assert (gone["pages"], gone["page_urls"], rows(desk, "pages"), rows(desk, "page_urls")) == (1, 1, 0, 0)


def test_raw_days_of_events_go_after_35_days_and_what_they_cost_stays(desk):
    events, money = SqliteEvents(desk.store), SqliteMoney(desk.store)
    today = day_of(NOW)
    context = ("planet", "sport", "483", "spring", "spring-1", "phone", "evening", "rain", 0, 7)
    events.keep(
        [Event(Row(bytes([n]) * 16, 0, "impression", today, *context), today, 0) for n in range(3)],
        [Asked(today, "planet", "sport", 3, 3)],
    )
    desk.now += 35 * DAY
    assert purged(desk)["events"] == 0
    desk.now += DAY
    gone = purged(desk)
    assert (gone["events"], gone["decided"], gone["click_bounds"], rows(desk, "events")) == (3, 1, 1, 0)
    assert money.billed("spring", today, today).micros == 21
    assert desk.store.rows("SELECT kind, micros FROM money_journal") == [("settled", 21)]
    assert money.faults(day_of(desk.now) - 35) == []


def test_what_is_held_and_leased_of_a_budget_goes_within_the_hour(desk):
    money, today = SqliteMoney(desk.store), day_of(NOW)
    money.set_caps({"spring": Caps(10**6, None)})
    minute = int(NOW.timestamp()) // 60
    assert money.lease("worker", [Use("spring", today, {(today, minute + 30): 50}, 1000, 1)], NOW) == {
        "spring": 1000
    }
    held = purged(desk)
    assert (held["holds"], held["leases"], rows(desk, "holds"), rows(desk, "leases")) == (0, 0, 1, 1)
    desk.now += HOUR + timedelta(minutes=1)
    gone = purged(desk)
    assert (gone["holds"], gone["leases"], rows(desk, "holds"), rows(desk, "leases")) == (1, 1, 0, 0)


def test_deleted_advertisements_and_their_pictures_go_after_a_year(desk):
    picture = HostedImage("ab" * 32, "image/png", 1, 1, b"png")
    shown = creative(image=Image(alt="a", hash=picture.hash, ext="png", w=1, h=1))
    things = [Change(None, one) for one in (advertiser(), campaign(), shown)]
    desk.store.write(things, [picture], desk.store.versions(), "t", NOW)
    desk.store.write([Change(shown, None)], [], desk.store.versions(), "t", NOW)
    desk.now += 365 * DAY
    assert purged(desk)["withdrawn"] == 0
    desk.now += 2 * DAY
    assert purged(desk)["withdrawn"] == 1
    desk.now += 2 * DAY
    assert purged(desk)["images"] == 1
    assert [rows(desk, table) for table in ("withdrawn", "withdrawn_images", "images")] == [0, 0, 0]


def test_pictures_go_a_day_after_their_last_use(desk):
    picture = HostedImage("ab" * 32, "image/png", 1, 1, b"png")
    image = Image(alt="a", hash=picture.hash, ext="png", w=1, h=1)
    shown = creative(image=image)
    desk.store.write(
        [Change(None, one) for one in (advertiser(), campaign(), shown)],
        [picture],
        desk.store.versions(),
        "t",
        NOW,
    )
    desk.store.write([Change(shown, creative())], [], desk.store.versions(), "t", NOW)
    assert purged(desk)["images"] == 0
    desk.now += DAY + HOUR
    assert purged(desk)["images"] == 1 and rows(desk, "images") == 0


def test_api_keys_go_once_they_are_revoked(desk):
    text = create_key(desk.store, "operator", None, "t", NOW, Chance("key"))
    create_key(desk.store, "compliance", None, "t", NOW, Chance("other"))
    revoke_key(desk.store, text.split("_")[2], "t", NOW)
    assert purged(desk)["api_keys"] == 1
    assert [key.scope for key in desk.store.keys()] == ["compliance"]


def test_uses_and_ended_statuses_go_when_no_token_can_be_valid(desk):
    desk.grant()
    desk.consents.withdraw("planet", SUB, "link")
    desk.consents.store.use("planet", "j", "n", desk.now + HOUR, 5)
    assert purged(desk)["token_uses"] == 0
    desk.now += HOUR + timedelta(minutes=2)
    gone = purged(desk)
    assert (gone["token_uses"], gone["ended_statuses"]) == (1, 1)
    with closing(sqlite3.connect(desk.config.data_dir / "uses.db")) as db:
        assert db.execute("SELECT count(*) FROM uses").fetchone() == (0,)
    assert desk.consents.store.statuses()[1] == []


def test_receipts_of_uses_wait_an_hour_at_most_and_their_batch_goes_after_35_days(desk):
    desk.consents.store.use("planet", "j", "n", desk.now + HOUR, 5)
    assert rows(desk, "uses_waiting") == 0  # it is in the file of uses yet
    desk.now += HOUR
    purged(desk)
    assert (rows(desk, "uses_waiting"), rows(desk, "use_batches")) == (0, 1)
    assert desk.leaf_types() == ["decision.batch"]
    desk.now += 35 * DAY
    assert purged(desk)["use_batches"] == 0
    desk.now += HOUR
    assert purged(desk)["use_batches"] == 1 and rows(desk, "use_batches") == 0


def test_a_consent_expires_and_its_record_goes_with_its_key_when_its_days_are_over(desk):
    desk.grant(days=30)
    desk.now += 31 * DAY
    assert purged(desk)["consents expired"] == 1
    assert desk.consents.export("planet", SUB)
    desk.now += 1094 * DAY
    assert purged(desk)["consents"] == 0
    desk.now += 2 * DAY
    assert purged(desk)["consents"] == 1
    assert (rows(desk, "consents"), rows(desk, "consent_events")) == (0, 0)
    assert desk.consents.keys.generations() == {}
    assert desk.leaf_types() == ["consent.grant", "consent.expire", "subject.erase"]


def test_a_key_of_a_grant_that_was_never_finished_goes_after_a_day(desk):
    desk.consents.keys.make("nobody")
    assert purged(desk)["subject keys"] == 0
    desk.now += 2 * DAY
    assert purged(desk)["subject keys"] == 1 and desk.consents.keys.get("nobody") is None


def test_the_keys_of_weeks_and_their_rows_go(desk):
    with open_rights(desk.config, desk.store, now=lambda: desk.now) as rights:
        rights.weeks.shared.note("planet", "s" * 64, [("cohort", "a")], desk.now)
    count = lambda: (desk.config.key_dir / "epochs.db").read_bytes()  # noqa: E731
    assert count()
    desk.now += 22 * DAY
    purged(desk)
    with open_rights(desk.config, desk.store, now=lambda: desk.now) as rights:
        assert rights.weeks._keys.file.rows("SELECT * FROM epoch_keys") == []
        assert rights.weeks._rows.file.rows("SELECT * FROM shared_values") == []


def test_an_erasure_that_was_cut_short_is_finished(desk, monkeypatch):
    desk.grant()
    monkeypatch.setattr(desk.consents.keys, "destroy_erased", lambda erase_ids: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        desk.consents.erase("planet", SUB)
    assert purged(desk)["erasures finished"] == 1 and desk.consents.keys.generations() == {}


# --- copies of keys ---


def test_a_copy_of_keys_goes_after_thirty_days_and_is_not_taken_back(desk, tmp_path):
    desk.grant()
    copies = tmp_path / "copies"
    copies.mkdir()
    (copies / "note.txt").write_text("no copy")
    desk.consents.keys.back_up(copies / "one", desk.now)
    assert (copies / "one").stat().st_mode & 0o077 == 0
    desk.now += 29 * DAY
    assert purged(desk, copies)["copies of subject keys"] == 0
    desk.now += DAY
    with pytest.raises(StoreError, match="30 days"):
        desk.consents.keys.put_back(copies / "one", desk.consents.log.told, desk.now)
    assert purged(desk, copies)["copies of subject keys"] == 1
    assert [path.name for path in copies.iterdir()] == ["note.txt"]


def test_a_backup_of_the_store_holds_no_key_of_a_subject(desk, tmp_path):
    desk.grant()
    key = desk.consents.keys.get(desk.consents.subject_of("planet", SUB)).key
    backup(desk.store, tmp_path / "copy.db")
    assert key not in (tmp_path / "copy.db").read_bytes()


def test_putting_keys_back_brings_no_erased_one_back(desk, tmp_path):
    other = desk.grant(None)
    desk.grant()
    subject, kept = (desk.consents.subject_of("planet", sub) for sub in (SUB, other.sub))
    desk.consents.keys.back_up(tmp_path / "copy", desk.now)
    desk.consents.erase("planet", SUB)
    desk.consents.keys.destroy(kept)  # lost with a disk, say
    assert desk.consents.keys.put_back(tmp_path / "copy", desk.consents.log.told, desk.now) == 1
    assert desk.consents.keys.get(subject) is None
    assert desk.consents.export("planet", other.sub)
    assert copied_on(desk.consents.keys.file.path) is None


def test_putting_keys_back_knows_the_tombstones_of_a_public_log(desk, tmp_path):
    desk.leaves._random = Chance("public")
    desk.grant()
    desk.consents.keys.back_up(tmp_path / "copy", desk.now)
    desk.consents.erase("planet", SUB)
    assert "subject.erase" not in desk.leaf_types()
    assert desk.consents.keys.put_back(tmp_path / "copy", desk.consents.log.told, desk.now) == 0


def test_keys_are_not_put_back_from_a_copy_with_any_byte_changed(desk, tmp_path):
    desk.grant()
    subject = desk.consents.subject_of("planet", SUB)
    desk.consents.keys.back_up(tmp_path / "copy", desk.now)
    whole = (tmp_path / "copy").read_bytes()
    desk.consents.keys.destroy(subject)
    for place in (
        0,
        20,
        99,
        whole.index(subject.encode()) + 70,
        *range(200, len(whole), 499),
        len(whole) - 2,
    ):
        (tmp_path / "copy").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(StoreError):
            desk.consents.keys.put_back(tmp_path / "copy", desk.consents.log.told, desk.now)
    (tmp_path / "copy").write_bytes(whole)
    assert desk.consents.keys.put_back(tmp_path / "copy", desk.consents.log.told, desk.now) == 1


# --- a restored store ---


def restored(desk: Desk, copy: Path) -> Desk:
    desk.close()
    restore(copy, desk.config.database, force=True)
    return Desk(desk.folder, now=desk.now, seed="after")


def test_a_restore_takes_no_decision_of_a_reader_back(desk, tmp_path):
    gone, ended = desk.grant(None), desk.grant(None)
    backup(desk.store, tmp_path / "copy.db")
    desk.consents.erase("planet", gone.sub)
    desk.consents.withdraw("planet", ended.sub, "link")
    later = desk.grant(None)
    leaves = desk.leaves.read(0, 99)
    after = restored(desk, tmp_path / "copy.db")
    assert after.leaves.read(0, 99) == leaves
    assert after.consents.reconcile() == Reconciled()
    assert after.standing(gone.sub) is None and after.standing(later.sub).state == "ConsentGiven"
    assert after.standing(ended.sub).state == "ConsentWithdrawn"
    after.close()


def test_where_the_old_store_is_lost_the_keys_tell_what_was_withdrawn_and_erased(desk, tmp_path):
    gone, ended, kept = desk.grant(None), desk.grant(None), desk.grant(None)
    backup(desk.store, tmp_path / "copy.db")
    desk.consents.erase("planet", gone.sub)
    desk.consents.withdraw("planet", ended.sub, "link")
    desk.store.close()
    for path in desk.config.data_dir.glob("tactful.db*"):
        path.unlink()
    after = restored(desk, tmp_path / "copy.db")
    assert after.standing(gone.sub).state == "ConsentGiven"  # as the backup has it
    assert after.consents.reconcile() == Reconciled(erased=1, withdrawn=1)
    assert after.standing(gone.sub) is None and after.standing(ended.sub).state == "ConsentWithdrawn"
    assert after.standing(kept.sub).state == "ConsentGiven"
    with pytest.raises(NotFound):
        after.consents.export("planet", gone.sub)
    after.close()


def test_where_the_old_store_is_lost_who_was_erased_and_who_took_a_purpose_back_agree_anew(desk, tmp_path):
    again, less, same = desk.grant(None), desk.grant(None), desk.grant(None)
    backup(desk.store, tmp_path / "copy.db")
    desk.consents.erase("planet", again.sub)
    desk.grant(again.sub)
    desk.grant(less.sub, purposes=frozenset({"ads.select.first_party"}))
    desk.grant(same.sub)
    desk.store.close()
    for path in desk.config.data_dir.glob("tactful.db*"):
        path.unlink()
    after = restored(desk, tmp_path / "copy.db")
    assert after.consents.reconcile() == Reconciled(erased=1, withdrawn=1)
    assert after.standing(again.sub) is None and after.standing(less.sub).state == "ConsentWithdrawn"
    assert after.standing(same.sub).state == "ConsentGiven"
    after.close()


def test_a_store_with_another_log_is_not_restored_over(desk, tmp_path):
    desk.grant()
    backup(desk.store, tmp_path / "copy.db")
    with desk.store.writing() as db:
        db.execute("UPDATE log_leaves SET leaf = ?", (json.dumps({"type": "other"}).encode(),))
    with pytest.raises(StoreError, match="consent log"):
        restored(desk, tmp_path / "copy.db")
    assert desk.config.database.exists()


def test_a_refused_purge_says_which_key_is_missing(desk):
    (desk.config.key_dir / "issuer.key").unlink()
    with pytest.raises(Exception, match="issuer"):
        purged(desk)


# Whose retention does not end by itself, or ends with the one of another table that is tested above.
ENDS_NOT = (
    *("for good", "until removed", "until the operator", "until the creative changes", "until the next"),
    *("as ", "by table"),
)
PURGED = {  # what ends by itself → the test above that shows it
    *(
        "pages",
        "page_urls",
        "events",
        "decided",
        "click_bounds",
        "images",
        "withdrawn",
        "api_keys",
        "token_uses",
    ),
    *(
        "ended_statuses",
        "uses_waiting",
        "use_batches",
        "consents",
        "consent_events",
        "unscrubbed",
        "leases",
        "holds",
    ),
    *(
        "data/uses.db/uses",
        "data/shared.db/shared_values",
        "keys/epochs.db/epoch_keys",
        "keys/subjects.db/subjects",
    ),
    "keys/subjects.db",  # its copies
}


def test_every_declared_retention_that_ends_is_tested_here():
    raw = yaml.safe_load(files("privacy").joinpath("inventory.yaml").read_text("utf-8"))
    kept = raw["kept"] | raw["beside"] | raw["files"]
    ends = {name for name, entry in kept.items() if not entry["retention"].startswith(ENDS_NOT)}
    ends |= {name for name, entry in kept.items() if "copies" in entry["retention"]}
    assert ends == PURGED
