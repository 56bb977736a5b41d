"""Owners see and change what is theirs."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from engine.campaign import Campaign, Publisher
from engine.change import Change, Kind
from engine.check.findings import Known
from engine.creative import Creative
from engine.errors import CatalogConflict, CatalogErrors, Forbidden, NotFound
from engine.keys import Caller
from engine.load import apply, plan
from engine.load_files import Values
from engine.manage import Put, approve, delete, get, list_page, put, review
from engine.store import SqliteStore, open_store

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KNOWN = Known(topics={"1"}, products=())
OPERATOR = Caller("operator", None, "0")
COMPLIANCE = Caller("compliance", None, "1")
BIKES = Caller("advertiser", "bikes", "2")
SHOES = Caller("advertiser", "shoes", "3")
DAILY = Caller("publisher", "daily", "4")
WEEKLY = Caller("publisher", "weekly", "5")
EVERYONE = (OPERATOR, COMPLIANCE, BIKES, SHOES, DAILY, WEEKLY)


def campaign(advertiser: str, **fields: object) -> dict[str, object]:
    return {"advertiser": advertiser, "name": "Ride", "cpm_micros": 5, **fields}


def creative(campaign: str, **fields: object) -> dict[str, object]:
    url = f"https://{campaign.partition('-')[0]}.example/"
    return {"campaign": campaign, "format": "native", "headline": "Hi", "landing_url": url, **fields}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = open_store(f"sqlite:///{tmp_path}/tactful.db")
    records: list[object] = []
    for name in ("bikes", "shoes"):
        records += [
            {"kind": "advertiser", "id": name, "name": name, "domains": [f"{name}.example"]},
            {"kind": "campaign", "id": f"{name}-1", **campaign(name)},
            {"kind": "creative", "id": f"{name}-1-a", **creative(f"{name}-1")},
        ]
    for name in ("daily", "weekly"):
        records.append(
            {
                "kind": "publisher",
                "id": name,
                "name": name,
                "domains": [f"{name}.example"],
                "approval": "manual",
            }
        )
    with plan(Values(records), store, KNOWN, NOW) as planned:
        apply(planned, store, "test", NOW)
    yield store
    store.close()


def put_as(store: SqliteStore, caller: Caller, kind: Kind, id: str, value: object) -> Put:
    return put(store, KNOWN, caller, kind, id, json.dumps(value).encode(), NOW)


def test_a_body_that_says_a_field_twice_is_refused(store: SqliteStore):
    body = b'{"name": "Bikes", "domains": ["bikes.example"], "name": "Other"}'
    with pytest.raises(CatalogErrors, match="name: got the field again"):
        put(store, KNOWN, OPERATOR, "advertiser", "bikes", body, NOW)


def test_everyone_reads_their_own_and_nothing_else(store: SqliteStore):
    owners = {
        ("publisher", "daily"): {OPERATOR, COMPLIANCE, DAILY},
        ("advertiser", "bikes"): {OPERATOR, COMPLIANCE, BIKES},
        ("campaign", "bikes-1"): {OPERATOR, COMPLIANCE, BIKES},
        ("creative", "bikes-1-a"): {OPERATOR, COMPLIANCE, BIKES},
    }
    for (kind, id), readers in owners.items():
        for caller in EVERYONE:
            listed = [entity.id for entity in list_page(store, caller, kind)]
            if caller in readers:
                assert get(store, caller, kind, id).id == id
                assert id in listed
            else:
                assert id not in listed
                with pytest.raises(NotFound) as foreign:
                    get(store, caller, kind, id)
                with pytest.raises(NotFound) as none:
                    get(store, caller, kind, "none")
                assert str(foreign.value).replace(id, "none") == str(none.value)


def test_an_advertiser_makes_changes_and_removes_its_own(store: SqliteStore):
    made = put_as(store, BIKES, "campaign", "bikes-2", campaign("bikes"))
    assert made.created and made.entity == Campaign("bikes-2", "bikes", "Ride", 5)
    again = put_as(store, BIKES, "campaign", "bikes-2", campaign("bikes", status="paused"))
    assert not again.created and get(store, BIKES, "campaign", "bikes-2") == again.entity
    same = put_as(store, BIKES, "campaign", "bikes-2", campaign("bikes", status="paused"))
    assert not same.created and same.entity == again.entity
    assert store.journal()[-1][2] == "advertiser:bikes:2"
    delete(store, BIKES, "campaign", "bikes-2", NOW)
    with pytest.raises(NotFound):
        get(store, BIKES, "campaign", "bikes-2")


def test_what_was_got_can_be_put_again(store: SqliteStore):
    out = io.BytesIO()
    Image.new("RGB", (30, 20)).save(out, "PNG")
    banner = creative(
        "bikes-1", format="banner", size=[300, 200], headline="",
        image={"alt": "x", "data": base64.b64encode(out.getvalue()).decode()},
        html="<a href=https://bikes.example><img src=image alt=x></a><script></script>",
    )  # fmt: skip
    made = put_as(store, BIKES, "creative", "bikes-1-b", banner)
    assert made.warnings == ("creative bikes-1-b: html: removed <script>",)
    before = store.versions()
    got = msgspec.json.encode(get(store, BIKES, "creative", "bikes-1-b"))
    again = put(store, KNOWN, BIKES, "creative", "bikes-1-b", got, NOW)
    assert (again.entity, again.warnings) == (made.entity, ())
    assert store.versions() == before


def forbidden(caller: Caller, kind: Kind, id: str, value: object):
    return pytest.param(caller, kind, id, value, id=f"{caller.scope} {kind} {id}")


@pytest.mark.parametrize(
    ("caller", "kind", "id", "value"),
    [
        forbidden(BIKES, "campaign", "shoes-1", campaign("shoes")),
        forbidden(BIKES, "campaign", "shoes-1", campaign("bikes")),  # a foreign id, taken over
        forbidden(BIKES, "campaign", "new", campaign("shoes")),
        forbidden(BIKES, "campaign", "bikes-1", campaign("shoes")),
        forbidden(BIKES, "campaign", "bikes-1", campaign("bikes", house=True, cpm_micros=0)),
        forbidden(BIKES, "creative", "shoes-1-a", creative("bikes-1")),
        forbidden(
            BIKES, "advertiser", "bikes", {"name": "Bikes", "domains": ["bikes.example", "evil.example"]}
        ),
        forbidden(BIKES, "publisher", "daily", {"name": "Daily", "domains": ["daily.example"]}),
        forbidden(DAILY, "publisher", "weekly", {"name": "Weekly", "domains": ["weekly.example"]}),
        forbidden(DAILY, "publisher", "new", {"name": "New", "domains": ["new.example"]}),
        forbidden(
            DAILY, "publisher", "daily", {"name": "Daily", "domains": ["daily.example", "evil.example"]}
        ),
        forbidden(
            DAILY, "publisher", "daily", {"name": "D", "domains": ["daily.example"], "rate_per_s": 9999}
        ),
        forbidden(DAILY, "publisher", "daily", {"name": "D", "domains": ["daily.example"], "fetch": True}),
        forbidden(DAILY, "campaign", "bikes-1", campaign("bikes")),
        forbidden(DAILY, "creative", "new", creative("bikes-1")),
        forbidden(COMPLIANCE, "campaign", "bikes-1", campaign("bikes")),
        forbidden(COMPLIANCE, "publisher", "daily", {"name": "Daily", "domains": ["daily.example"]}),
    ],
)
def test_nobody_changes_what_is_not_theirs(
    store: SqliteStore, caller: Caller, kind: Kind, id: str, value: object
):
    before = store.versions()
    with pytest.raises(Forbidden):
        put_as(store, caller, kind, id, value)
    assert store.versions() == before


def test_another_advertisers_campaign_looks_like_none(store: SqliteStore):
    told = []
    for name in ("shoes-1", "none-1"):
        with pytest.raises(CatalogErrors) as refused:
            put_as(store, BIKES, "creative", "new", creative(name, landing_url="https://bikes.example/"))
        told.append(str(refused.value).replace(name, "*"))
    assert told[0] == told[1]


def test_a_publisher_changes_the_rest_of_its_record(store: SqliteStore):
    put_as(store, DAILY, "publisher", "daily", {"name": "D", "domains": ["daily.example"], "floor_micros": 7})
    assert get(store, DAILY, "publisher", "daily") == Publisher(
        "daily", "D", ("daily.example",), floor_micros=7
    )


@pytest.mark.parametrize(
    ("kind", "id"), [("campaign", "shoes-1"), ("creative", "shoes-1-a"), ("publisher", "daily")]
)
def test_nobody_removes_what_is_not_theirs(store: SqliteStore, kind: Kind, id: str):
    for caller in (BIKES, DAILY, WEEKLY, COMPLIANCE):
        with pytest.raises((NotFound, Forbidden)):
            delete(store, caller, kind, id, NOW)
    assert get(store, OPERATOR, kind, id).id == id


def test_what_others_stand_on_is_not_removed(store: SqliteStore):
    for kind, id in (("advertiser", "bikes"), ("campaign", "bikes-1")):
        with pytest.raises(CatalogConflict):
            delete(store, OPERATOR, kind, id, NOW)
    for kind, id in (("creative", "bikes-1-a"), ("campaign", "bikes-1"), ("advertiser", "bikes")):
        delete(store, OPERATOR, kind, id, NOW)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"kind":"creative"}', b'{"id":"other"}',
     b'{"id":7}', b'{"advertiser":"bikes"}', b'{"advertiser":"bikes","name":"x","cpm_micros":5,"extra":1}'],
)  # fmt: skip
def test_a_body_that_is_no_campaign_is_refused(store: SqliteStore, body: bytes):
    with pytest.raises(CatalogErrors):
        put(store, KNOWN, BIKES, "campaign", "bikes-1", body, NOW)


class Busy(SqliteStore):
    """A store in which someone else gets in first, `times` times."""

    times = 0

    def write(self, changes, images, expected, actor, now):
        if self.times:
            self.times -= 1
            old = self.find("advertiser", ["shoes"])["shoes"]
            new = msgspec.structs.replace(old, name=f"Shoes {self.times}")
            super().write([Change(old, new)], [], self.versions(), "other", NOW)
        return super().write(changes, images, expected, actor, now)


def test_a_change_that_was_overtaken_is_planned_anew(store: SqliteStore):
    busy = Busy(store.path)
    busy.times = 3
    put_as(busy, BIKES, "campaign", "bikes-1", campaign("bikes", name="Mine"))
    busy.times = 3
    delete(busy, BIKES, "creative", "bikes-1-a", NOW)
    assert [c.id for c in list_page(store, BIKES, "creative")] == []
    busy.times = 99
    with pytest.raises(CatalogConflict):
        put_as(busy, BIKES, "campaign", "bikes-1", campaign("bikes", name="Other"))
    busy.close()
    found = get(store, BIKES, "campaign", "bikes-1")
    assert isinstance(found, Campaign) and found.name == "Mine"


# --- approvals ---


def test_a_publisher_approves_what_it_has_seen(store: SqliteStore):
    seen = review(store, DAILY, "daily")
    assert [(r.creative.id, r.state) for r in seen] == [("bikes-1-a", None), ("shoes-1-a", None)]
    approve(store, DAILY, "daily", {seen[0].creative.id: seen[0].hash}, "approved", NOW)
    approve(store, DAILY, "daily", {seen[1].creative.id: seen[1].hash}, "rejected", NOW)
    assert [r.state for r in review(store, DAILY, "daily")] == ["approved", "rejected"]
    assert [r.state for r in review(store, WEEKLY, "weekly")] == [None, None]
    assert store.journal()[-1][2:5] == ("publisher:daily:4", "approval", "daily/shoes-1-a")


def test_a_creative_changed_behind_the_publishers_back_is_not_approved(store: SqliteStore):
    seen = review(store, DAILY, "daily")[0]
    put_as(store, BIKES, "creative", "bikes-1-a", creative("bikes-1", headline="Bait"))
    with pytest.raises(CatalogConflict):
        approve(store, DAILY, "daily", {seen.creative.id: seen.hash}, "approved", NOW)
    seen = review(store, DAILY, "daily")[0]
    assert isinstance(seen.creative, Creative) and seen.creative.headline == "Bait"
    approve(store, DAILY, "daily", {seen.creative.id: seen.hash}, "approved", NOW)
    put_as(store, BIKES, "creative", "bikes-1-a", creative("bikes-1", headline="Switch"))
    assert review(store, DAILY, "daily")[0].state is None


def test_a_publisher_is_shown_only_what_may_come_to_it(store: SqliteStore):
    put_as(
        store,
        BIKES,
        "campaign",
        "bikes-1",
        campaign("bikes", targeting={"publishers": {"include": ["weekly"]}}),
    )
    put_as(
        store,
        SHOES,
        "creative",
        "shoes-1-a",
        creative("shoes-1", targeting={"publishers": {"exclude": ["weekly"]}}),
    )
    assert [r.creative.id for r in review(store, DAILY, "daily")] == ["shoes-1-a"]
    assert [r.creative.id for r in review(store, WEEKLY, "weekly", limit=1)] == ["bikes-1-a"]
    assert [r.creative.id for r in review(store, DAILY, "daily", limit=1)] == ["shoes-1-a"]
    assert review(store, DAILY, "daily", after="shoes-1-a") == []


def test_approvals_are_the_publishers_own(store: SqliteStore):
    seen = review(store, OPERATOR, "daily")[0]
    for caller in (WEEKLY, BIKES, COMPLIANCE):
        with pytest.raises(NotFound):
            review(store, caller, "daily")
        with pytest.raises(NotFound):
            approve(store, caller, "daily", {seen.creative.id: seen.hash}, "approved", NOW)
    with pytest.raises(NotFound):
        approve(store, OPERATOR, "nobody", {seen.creative.id: seen.hash}, "approved", NOW)
