"""Consents: each change stands with its leaf or not at all, ends at once, and leaves nothing when it is erased."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from operator import attrgetter
from pathlib import Path

import pytest

from engine.consents import open_consents
from engine.errors import NotFound, StoreError
from privacy.consent_token import Verifier, pin
from privacy.erasure import commitment, unseal
from privacy.errors import FieldError
from tests.rights import NOTICE, PLANET, SELECT, SUB, Desk, grant

DAY = timedelta(days=1)


@pytest.fixture
def desk(tmp_path, setting):
    desk = Desk(tmp_path, setting=setting)
    yield desk
    desk.close()


def token_of(desk, given):
    pins = pin({"https://ads.example": [desk.consents.issuer.key]})
    return Verifier().verify(given.token, "planet", pins, int(desk.now.timestamp()))


def test_a_grant_stands_and_its_token_says_the_same(desk):
    given = desk.grant()
    standing, token = desk.standing(), token_of(desk, given)
    assert standing.state == "ConsentGiven" and standing.purposes == SELECT
    assert token.generation == standing.generation == given.row.generation
    assert (token.subject, token.record, token.purposes) == (SUB, given.record, SELECT)
    assert token.status.index == given.row.status_idx
    assert desk.leaf_types() == ["consent.grant"]


def test_a_subject_is_drawn_where_none_is_given(desk):
    first, second = desk.grant(None), desk.grant(None)
    assert first.sub != second.sub and len(first.sub) >= 32
    assert desk.standing(first.sub).state == "ConsentGiven"


def test_the_sub_stands_in_no_file(desk):
    desk.grant()
    assert not [name for name, data in desk.files().items() if SUB.encode() in data]


@pytest.mark.parametrize("sub", ["anna@example.org" * 2, "short", "", "ü" * 30, "0 30 1234567890123456789"])
def test_what_may_name_somebody_is_no_sub(desk, sub):
    with pytest.raises(FieldError, match="sub"):
        desk.grant(sub)
    assert desk.leaf_types() == []


def test_a_consent_that_stands_is_renewed_and_keeps_its_tokens(desk):
    first = desk.grant()
    desk.now += DAY
    second = desk.grant(purposes=SELECT | {"measure.first_party"})
    assert (second.record, second.row.generation) == (first.record, first.row.generation)
    assert desk.standing().state == "RenewedConsentGiven"
    assert desk.standing().purposes == SELECT | {"measure.first_party"}
    assert second.row.expires == first.row.expires + DAY


def test_who_takes_a_purpose_back_voids_the_tokens_that_had_it(desk):
    first = desk.grant()
    second = desk.grant(purposes=frozenset({"ads.select.first_party"}))
    assert second.record == first.record and second.row.generation == first.row.generation + 1
    assert desk.standing().purposes == {"ads.select.first_party"}
    assert token_of(desk, second).generation == desk.standing().generation


def test_a_withdrawal_ends_all_tokens_and_is_told_once(desk):
    given = desk.grant()
    done = desk.consents.withdraw("planet", SUB, "link")
    standing = desk.standing()
    assert standing.state == "ConsentWithdrawn" and standing.purposes == frozenset()
    assert standing.generation > given.row.generation
    assert desk.consents.store.statuses()[1] == [given.row.status_idx]
    assert desk.consents.withdraw("planet", SUB, "link").index is None
    assert desk.leaf_types() == ["consent.grant", "consent.withdraw"] and done.index == 1
    assert set(desk.forgotten) == {("planet", desk.consents.subject_of("planet", SUB))}


def test_who_agrees_anew_gets_a_new_record_and_no_old_token_back(desk):
    first = desk.grant()
    desk.consents.withdraw("planet", SUB, "link")
    second = desk.grant()
    assert second.record != first.record and second.row.generation > first.row.generation
    assert second.row.status_idx != first.row.status_idx


def test_who_agrees_after_an_erasure_gets_no_old_token_back(desk):
    first = desk.grant()
    desk.consents.erase("planet", SUB)
    desk.now += timedelta(seconds=1)
    assert desk.grant().row.generation > first.row.generation


def test_a_refusal_leaves_nothing_of_a_reader(desk):
    receipt = desk.consents.refuse(PLANET, grant())
    [told] = [json.loads(leaf) for leaf in desk.leaves.read(0, 9)]
    assert told["type"] == "consent.refuse" and receipt.index == 0
    assert told["data"]["notice"] == NOTICE.text_sha256 and "commit" not in told
    assert list(desk.consents.store.subjects()) == [] and desk.consents.keys.generations() == {}


def test_a_consent_expires_when_its_time_is_over(desk):
    desk.grant(days=2)
    assert desk.consents.expire() == 0
    desk.now += 2 * DAY
    assert desk.consents.expire() == 1 and desk.consents.expire() == 0
    assert desk.standing().state == "ConsentExpired"
    assert desk.leaf_types() == ["consent.grant", "consent.expire"]


def test_strings_only_take_away(desk):
    with pytest.raises(FieldError, match="tcf"):
        desk.grant(tcf="${GDPR_CONSENT_755}")
    assert desk.leaf_types() == [] and desk.standing() is None


def test_what_was_recorded_opens_and_its_leaf_commits_to_it(desk):
    given = desk.grant()
    leaf = json.loads(desk.leaves.read(0, 1)[0])
    key = bytes.fromhex(given.receipt.key)
    assert commitment(key, 0, given.receipt.record.encode()).hex() == leaf["commit"]
    subject = desk.consents.subject_of("planet", SUB)
    [(index, ciphertext)] = desk.consents.store.events(subject)
    assert hashlib.sha256(ciphertext).hexdigest() == leaf["ct"]
    opened = unseal(desk.consents.keys.get(subject).key, index, ciphertext)
    assert opened.decode() == given.receipt.record
    assert json.loads(opened)["controller"]["name"] == "The Plänet"


def test_two_leaves_of_one_subject_share_nothing(desk):
    desk.grant(), desk.grant(), desk.consents.withdraw("planet", SUB, "link")
    leaves = [json.loads(leaf) for leaf in desk.leaves.read(0, 9)]
    assert len({leaf["commit"] for leaf in leaves}) == len({leaf["ct"] for leaf in leaves}) == 3


def test_a_consent_and_its_leaf_come_together_or_not_at_all(desk, monkeypatch):
    def fails(db, makers):
        [make(7) for make in makers]
        raise StoreError("disk full")

    monkeypatch.setattr(desk.leaves, "append", fails)
    with pytest.raises(StoreError):
        desk.grant()
    assert desk.standing() is None
    monkeypatch.undo()
    desk.grant()
    monkeypatch.setattr(desk.leaves, "append", fails)
    with pytest.raises(StoreError):
        desk.consents.withdraw("planet", SUB, "link")
    with pytest.raises(StoreError):
        desk.consents.erase("planet", SUB)
    assert desk.standing().state == "ConsentGiven" and desk.leaf_types() == ["consent.grant"]
    assert desk.consents.export("planet", SUB)


def test_an_export_holds_every_event_with_its_opening(desk):
    desk.grant(), desk.consents.withdraw("planet", SUB, "link")
    desk.now += DAY
    desk.grant()
    told = desk.consents.export("planet", SUB)
    first, second = told["@graph"]
    assert [status["@type"][0] for status in first["dpv:hasConsentStatus"]] == [
        "dpv:ConsentGiven",
        "dpv:ConsentWithdrawn",
    ]
    assert second["dpv:hasConsentStatus"][0]["@type"][0] == "dpv:ConsentGiven"
    for record in (first, second):
        for status in record["dpv:hasConsentStatus"]:
            opening = {
                name.removeprefix("tactful:"): value for name, value in status["tactful:opening"].items()
            }
            leaf = json.loads(opening["leaf"])
            committed = commitment(
                bytes.fromhex(opening["key"]), opening["index"], opening["record"].encode()
            )
            assert committed.hex() == leaf["commit"]


@pytest.mark.parametrize("act", ["export", "erase"])
def test_of_an_unknown_subject_nothing_is_told(desk, act):
    with pytest.raises(NotFound):
        getattr(desk.consents, act)("planet", SUB)
    with pytest.raises(NotFound):
        desk.consents.withdraw("planet", SUB, "link")


def test_tenants_have_each_their_own_subject_of_one_name(desk):
    desk.grant()
    for act in (desk.consents.export, desk.consents.erase):
        with pytest.raises(NotFound):
            act("globe", SUB)
    assert desk.standing().state == "ConsentGiven"


def test_after_an_erasure_no_file_holds_a_byte_of_it(desk):
    others = [desk.grant(None) for _ in range(40)]
    desk.grant(), desk.consents.withdraw("planet", SUB, "link"), desk.grant()
    subject = desk.consents.subject_of("planet", SUB)
    key = desk.consents.keys.get(subject).key
    ciphertexts = [ciphertext for _, ciphertext in desk.consents.store.events(subject)]
    needles = [SUB.encode(), subject.encode(), bytes.fromhex(subject), key, *ciphertexts]
    before = desk.leaves.read(0, 999)
    assert all(any(needle in data for data in desk.files().values()) for needle in (key, subject.encode()))
    done = desk.consents.erase("planet", SUB)
    found = [name for name, data in desk.files().items() for needle in needles if needle in data]
    assert found == []
    assert desk.leaves.read(0, 999)[: len(before)] == before
    assert json.loads(desk.leaves.read(done.index, done.index + 1)[0])["data"] == {"id": done.erase_id}
    with pytest.raises(NotFound):
        desk.consents.export("planet", SUB)
    assert desk.consents.export("planet", others[0].sub)


def test_what_moved_between_pages_of_a_file_is_found_and_rewritten(tmp_path):
    """secure_delete zeroes freed cells, not the gaps that moving cells leaves: here one such gap is filled."""
    desk = Desk(tmp_path)
    desk.grant()
    subject = desk.consents.subject_of("planet", SUB)
    desk.store.scrub([b"nothing"])
    path = desk.store.path
    data = path.read_bytes()
    page = int.from_bytes(data[16:18], "big")
    root = desk.store.rows("SELECT rootpage FROM sqlite_schema WHERE name = 'consents'")[0][0]
    start = (root - 1) * page
    content = int.from_bytes(data[start + 5 : start + 7], "big")
    cells = int.from_bytes(data[start + 3 : start + 5], "big")
    gap = start + 8 + 2 * cells + 100
    assert gap + 64 < start + content
    with path.open("r+b") as file:
        file.seek(gap)
        file.write(subject.encode())
    desk.consents.erase("planet", SUB)
    assert not [name for name, data in desk.files().items() if subject.encode() in data]
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    db.close()
    desk.close()


@pytest.mark.parametrize("step", ["keys.destroy_erased", "keys.file.scrub", "store.scrub"])
def test_an_erasure_that_was_cut_short_is_finished(desk, monkeypatch, step):
    desk.grant()
    subject = desk.consents.subject_of("planet", SUB)
    key = desk.consents.keys.get(subject).key

    def dies(*_):
        raise KeyboardInterrupt

    part, _, act = step.rpartition(".")
    monkeypatch.setattr(attrgetter(part)(desk.consents), act, dies)
    with pytest.raises(KeyboardInterrupt):
        desk.consents.erase("planet", SUB)
    monkeypatch.undo()
    assert desk.consents.sweep() == 1 and desk.consents.sweep() == 0
    assert not [name for name, data in desk.files().items() if key in data or subject.encode() in data]


def test_who_agrees_anew_before_an_erasure_is_finished_keeps_what_was_recorded(desk, monkeypatch):
    desk.grant()
    subject = desk.consents.subject_of("planet", SUB)
    key = desk.consents.keys.get(subject).key

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(desk.consents.keys, "destroy_erased", dies)
    with pytest.raises(KeyboardInterrupt):
        desk.consents.erase("planet", SUB)
    monkeypatch.undo()
    desk.now += DAY
    desk.grant()
    desk.consents.sweep()
    assert desk.consents.keys.get(subject).key != key
    assert [status["@type"][0] for [status] in statuses(desk)] == ["dpv:ConsentGiven"]
    assert not [name for name, data in desk.files().items() if key in data]


@pytest.mark.parametrize("act", ["grant", "withdraw", "erase"])
def test_what_another_process_erased_meanwhile_leaves_nothing_half_done(desk, monkeypatch, act):
    """The other one erases, and its reader agrees anew, right before this one's transaction."""
    other = Desk(desk.folder, seed="other", setting=desk.setting)
    desk.grant()
    subject = desk.consents.subject_of("planet", SUB)
    method = "erase" if act == "erase" else "change"
    change = getattr(desk.consents.store, method)

    def late(*asked):
        other.consents.erase("planet", SUB)
        other.grant()
        return change(*asked)

    monkeypatch.setattr(desk.consents.store, method, late)
    words = {"grant": (PLANET, SUB, grant()), "withdraw": ("planet", SUB, "link"), "erase": ("planet", SUB)}
    getattr(desk.consents, act)(*words[act])
    told = {"grant": 2, "withdraw": 2, "erase": 0}[act]
    assert len(desk.consents.store.events(subject)) == told
    if told:
        assert sum(map(len, statuses(desk))) == told
    assert (desk.consents.keys.get(subject) is None) == (act == "erase")
    assert len(desk.consents.keys.generations()) == (act != "erase")
    other.close()


def test_a_lost_key_keeps_nobody_from_withdrawing(desk):
    desk.grant()
    desk.consents.keys.destroy(desk.consents.subject_of("planet", SUB))
    desk.consents.withdraw("planet", SUB, "link")
    assert desk.standing().state == "ConsentWithdrawn"
    with pytest.raises(NotFound):
        desk.consents.export("planet", SUB)


def test_another_key_than_the_record_was_sealed_under_keeps_nobody_from_their_rights(desk):
    desk.grant()
    desk.consents.keys.destroy(desk.consents.subject_of("planet", SUB))
    desk.grant()  # renewed, under a key drawn anew
    assert [status["@type"][0] for [status] in statuses(desk)] == ["dpv:RenewedConsentGiven"]
    desk.consents.keys.destroy(desk.consents.subject_of("planet", SUB))
    desk.consents.keys.make(desk.consents.subject_of("planet", SUB))
    desk.consents.withdraw("planet", SUB, "link")
    assert desk.standing().state == "ConsentWithdrawn" and statuses(desk) == []


def test_a_withdrawal_that_was_not_noted_beside_the_key_is_with_the_next_try(desk, monkeypatch):
    desk.grant()

    def full(*_):
        raise StoreError("subjects.db: disk full")

    monkeypatch.setattr(desk.consents.keys, "raise_generation", full)
    with pytest.raises(StoreError):
        desk.consents.withdraw("planet", SUB, "link")
    monkeypatch.undo()
    desk.consents.withdraw("planet", SUB, "link")
    assert list(desk.consents.keys.generations().values()) == [desk.standing().generation]


@pytest.mark.parametrize("act", ["withdraw", "grant"])
def test_a_withdrawal_is_noted_beside_the_key_before_it_stands(desk, monkeypatch, act):
    given = desk.grant()
    change = desk.consents.store.change

    def dies(*asked):
        change(*asked)
        raise KeyboardInterrupt

    monkeypatch.setattr(desk.consents.store, "change", dies)
    with pytest.raises(KeyboardInterrupt):
        if act == "withdraw":
            desk.consents.withdraw("planet", SUB, "link")
        else:
            desk.grant(purposes=frozenset({"ads.select.first_party"}))
    assert list(desk.consents.keys.generations().values()) == [given.row.generation + 1]
    assert ("planet", desk.consents.subject_of("planet", SUB)) in desk.forgotten or act == "grant"


def test_who_agrees_anew_after_a_withdrawal_that_did_not_come_to_stand_is_not_withdrawn_later(desk):
    first = desk.grant()
    subject = desk.consents.subject_of("planet", SUB)
    desk.consents.keys.raise_generation(subject, first.row.generation + 1)
    second = desk.grant()
    assert second.row.generation == first.row.generation + 1
    assert desk.consents.reconcile().withdrawn == 0


def statuses(desk):
    return [record["dpv:hasConsentStatus"] for record in desk.consents.export("planet", SUB)["@graph"]]


def test_what_could_not_be_forgotten_is_tried_again_and_keeps_nothing_else_back(desk):
    desk.grant()
    subject = desk.consents.subject_of("planet", SUB)
    desk.fails = StoreError("shared.db: damaged")
    with pytest.raises(StoreError):
        desk.consents.withdraw("planet", SUB, "link")
    assert desk.standing().state == "ConsentWithdrawn"
    desk.fails = None
    desk.consents.withdraw("planet", SUB, "link")
    assert desk.forgotten == [("planet", subject)] * 4
    desk.fails = StoreError("shared.db: damaged")
    with pytest.raises(StoreError):
        desk.consents.erase("planet", SUB)
    assert desk.consents.keys.get(subject) is None
    assert not [name for name, data in desk.files().items() if subject.encode() in data]


def test_tokens_outlive_a_move_of_the_service_to_another_url(desk):
    given = desk.grant()
    moved = open_consents(
        replace(desk.config, public_url="https://moved.example"),
        desk.store,
        desk.leaves,
        desk.keyring,
        proof=lambda index: None,
        forget=lambda *subject: None,
        now=lambda: desk.now,
        random_bytes=desk.chance,
    )
    assert moved.read_rights(given.rights_token).subject == SUB
    assert moved.issuer.name == desk.consents.issuer.name == "https://ads.example"
    again = moved.grant(PLANET, SUB, grant())
    assert token_of(desk, again).status.uri == "https://moved.example/v1/consents/status"
    moved.close()


def test_a_nonce_is_good_once_and_a_token_so_often(desk):
    store, until = desk.consents.store, desk.now + DAY
    assert [store.use("planet", "j", nonce, until, 2) for nonce in ("a", "a", "b", "c")] == [
        True,
        False,
        True,
        False,
    ]
    assert store.use("planet", "k", "a", until, 2)
    assert store.forget(until + DAY)["token_uses"] == 3


def test_what_a_reader_may_have_once_is_noted_once_told_to_no_log_and_forgotten(desk):
    store, until = desk.consents.store, desk.now + timedelta(hours=1)
    assert [store.once(mark, until) for mark in ("a", "b", "a")] == [True, True, False]
    assert not desk.store.rows("SELECT receipt FROM uses_waiting")
    assert store.forget(until + timedelta(seconds=1))["token_uses"] == 2
    assert store.once("a", until)


def test_places_in_the_status_list_are_drawn_over_its_whole_length(desk):
    places = [desk.grant(None).row.status_idx for _ in range(200)]
    assert len(set(places)) == 200 and max(places) > 50_000 and min(places) < 15_000


IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from tests.rights import Desk
desk = Desk(Path(sys.argv[1]), seed="other", setting=sys.argv[2] or None)
getattr(desk.consents, sys.argv[3])("planet", sys.argv[4], *sys.argv[5:])
desk.close()
"""


def test_what_is_withdrawn_or_erased_in_another_process_acts_at_the_next_read(desk):
    def there(*words):
        command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(desk.folder), desk.setting or "", *words]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[2])

    desk.grant()
    assert desk.standing().state == "ConsentGiven"
    there("withdraw", SUB, "link")
    assert desk.standing().state == "ConsentWithdrawn"
    there("erase", SUB)
    assert desk.standing() is None
    with pytest.raises(NotFound):
        desk.consents.export("planet", SUB)


def test_another_connection_sees_a_withdrawal_at_its_next_look(desk):
    other = Desk(desk.folder, seed="other", setting=desk.setting)
    given = desk.grant()
    assert other.standing().generation == given.row.generation
    desk.consents.withdraw("planet", SUB, "link")
    assert other.standing().state == "ConsentWithdrawn"
    other.consents.erase("planet", SUB)
    assert desk.standing() is None
    other.close()
