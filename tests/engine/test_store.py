"""The store keeps the catalogue whole, whoever reads and writes."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from dataclasses import replace as with_
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from contexts.context import EncoderId, PageFacts, Topic, TopicId
from engine.campaign import Advertiser, Campaign, Publisher
from engine.change import Approval, Change, Entity, Kind, Versions, content_hash
from engine.creative import Creative, Image
from engine.errors import CatalogConflict, StoreError
from engine.images import HostedImage
from engine.store import open_store

if TYPE_CHECKING:
    from engine.store import Store

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PICTURE = HostedImage("ab" * 32, "image/png", 4, 2, b"picture")


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    store = open_store(store_url)
    yield store
    store.close()


def campaign(id: str = "ride", **fields: object) -> Campaign:
    return Campaign(**{"id": id, "advertiser": "bikes", "name": "Ride", "cpm_micros": 5, **fields})


def creative(id: str, **fields: object) -> Creative:
    given = {"campaign": "ride", "format": "native", "landing_url": "https://bikes.example/", "headline": id}
    return Creative(id=id, **{**given, **fields})


def write(store: Store, *changes: Change, images: tuple[HostedImage, ...] = (), now: datetime = NOW):
    return store.write(changes, images, store.versions(), "test", now)


def fill(store: Store, creatives: int = 3) -> None:
    owners: list[Entity] = [
        Publisher("daily", "Daily", ("daily.example",)),
        Advertiser("bikes", "Bikes", ("bikes.example",)),
        campaign(),
    ]
    new = (Change(None, creative(f"c{n:06}")) for n in range(creatives))
    store.write(chain((Change(None, owner) for owner in owners), new), [], store.versions(), "test", NOW)


def ids(store: Store) -> list[str]:
    with store.read() as reader:
        return [creative.id for batch in reader.creatives() for creative in batch]


def test_what_is_written_is_read_again_in_order(store: Store, store_url: str):
    fill(store, 2500)
    with store.read() as reader:
        batches = list(reader.creatives())
        assert [len(batch) for batch in batches] == [1000, 1000, 500]
        assert batches[0][1] == creative("c000001")
        assert list(reader.campaigns()) == [(campaign(),)]
        assert [p.id for batch in reader.publishers() for p in batch] == ["daily"]
        assert [a.id for batch in reader.advertisers() for a in batch] == ["bikes"]
    assert store.find("creative", ["c000001", "no"]) == {"c000001": creative("c000001")}
    reopened = open_store(store_url)
    assert ids(reopened) == ids(store)
    reopened.close()


def test_a_reader_sees_one_state_while_others_write(store: Store):
    fill(store, 1500)
    with store.read() as reader:
        before = reader.versions()
        stream = reader.creatives()
        first = next(stream)
        write(store, *(Change(creative(f"c{n:06}"), None) for n in range(1500)))
        assert len(first) + sum(len(batch) for batch in stream) == 1500
        assert reader.versions() == before
    assert ids(store) == []


def test_a_pause_moves_live_and_leaves_the_catalogue(store: Store):
    fill(store)
    before = store.versions()
    paused = creative("c000001", status="paused")
    write(store, Change(creative("c000001"), paused), Change(campaign(), campaign(status="paused")))
    after = store.versions()
    assert (after.catalog, after.live) == (before.catalog, before.live + 1)
    with store.read() as reader:
        assert reader.paused() == ({"ride"}, {"c000001"})
        assert reader.changed_since(before.catalog) == []
    write(store, Change(paused, creative("c000001", headline="other")))
    assert store.catalog_version() == before.catalog + 1
    with store.read() as reader:
        assert reader.paused() == ({"ride"}, frozenset())
        assert reader.changed_since(before.catalog) == [("creative", "c000001")]


def test_a_writer_that_looked_at_an_older_state_is_refused(store: Store):
    old = store.versions()
    fill(store)
    with pytest.raises(CatalogConflict):
        store.write([Change(None, creative("late"))], [], old, "test", NOW)
    assert "late" not in ids(store)


@pytest.mark.parametrize(
    "changes",
    [
        [Change(None, creative("a", campaign="nowhere"))],
        [Change(None, campaign("b", advertiser="nobody"))],
        [Change(campaign(), None)],
        [Change(Advertiser("bikes", "Bikes", ("bikes.example",)), None)],
        [Change(None, creative("a", image=Image(alt="x", hash="cd" * 32)))],
    ],
)
def test_a_hanging_reference_undoes_the_whole_change(store: Store, changes: list[Change]):
    fill(store)
    before = store.versions()
    with pytest.raises(CatalogConflict) as refused:
        write(store, Change(None, creative("first")), *changes)
    assert "constraint" not in str(refused.value).lower()  # the database's own words
    assert [change.id for change in changes if change.after is None] == [
        id for id in ("ride", "bikes") if f"{id}: delete first what belongs to it" in str(refused.value)
    ]
    assert store.versions() == before
    assert ids(store) == ["c000000", "c000001", "c000002"]
    assert len(store.journal()) == 6


def test_a_change_that_breaks_off_is_undone(store: Store):
    fill(store)

    def changes() -> Iterator[Change]:
        for n in range(3000):
            yield Change(None, creative(f"new{n}"))
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="gone"):
        store.write(changes(), [PICTURE], store.versions(), "test", NOW)
    assert len(ids(store)) == 3
    assert store.image(PICTURE.hash) is None
    write(store, Change(None, creative("next")))  # the lock is free again


def test_the_journal_says_who_changed_what_when(store: Store):
    fill(store, 1)
    changed = creative("c000000", headline="new")
    write(store, Change(creative("c000000"), changed))
    write(store, Change(changed, None))
    rows = store.journal(after=4)
    assert [(row[2], row[3], row[4]) for row in rows] == [("test", "creative", "c000000")] * 2
    assert rows[0][1] == "2026-11-23T12:00:00.000000+00:00"
    assert b'"headline":"c000000"' in rows[0][5] and b'"headline":"new"' in rows[0][6]
    assert rows[1][5] == rows[0][6] and rows[1][6] is None


def test_new_content_ends_an_approval_but_a_status_does_not(store: Store):
    fill(store, 2)
    shown = [creative("c000000"), creative("c000001")]
    hashes = {c.id: content_hash(c) for c in shown}
    store.approve(
        [Approval("daily", "c000000", "approved"), Approval("daily", "c000001", "rejected")],
        hashes,
        "test",
        NOW,
    )
    paused = replace(shown[0], status="paused")
    write(store, Change(shown[0], paused), Change(shown[1], replace(shown[1], status="paused")))
    assert store.approvals_of("daily", list(hashes)) == {"c000000": "approved", "c000001": "rejected"}
    write(store, Change(paused, replace(paused, body="bait")), Change(shown[1], replace(shown[1], body="b")))
    assert store.approvals_of("daily", list(hashes)) == {"c000001": "rejected"}


def test_what_was_not_looked_at_is_not_approved(store: Store):
    fill(store, 2)
    before = store.versions()
    seen = {
        "c000000": content_hash(creative("c000000")),
        "c000001": content_hash(creative("c000001", body="x")),
    }
    with pytest.raises(CatalogConflict):
        store.approve([Approval("daily", id, "approved") for id in seen], seen, "test", NOW)
    assert store.approvals_of("daily", list(seen)) == {}
    assert store.versions() == before


def test_an_approval_moves_live_and_is_journaled(store: Store):
    fill(store, 1)
    before = store.versions()
    hashes = {"c000000": content_hash(creative("c000000"))}
    store.approve([Approval("daily", "c000000", "approved")], hashes, "test", NOW)
    store.approve([Approval("daily", "c000000", "rejected")], hashes, "test", NOW)
    after = store.versions()
    assert (after.catalog, after.live) == (before.catalog, before.live + 2)
    with store.read() as reader:
        assert list(reader.approvals()) == [(Approval("daily", "c000000", "rejected"),)]
    last = store.journal()[-1]
    assert last[3:] == ("approval", "daily/c000000", b'"approved"', b'"rejected"')


def test_a_picture_outlives_its_last_use_by_a_day(store: Store):
    fill(store)
    with_picture = creative("p", image=Image(alt="x", hash=PICTURE.hash, w=4, h=2))
    in_html = creative("h", html=f'<img src="{PICTURE.hash}.png" alt="x">')
    write(store, Change(None, with_picture), Change(None, in_html), images=(PICTURE,))
    assert store.image(PICTURE.hash) == (b"picture", "image/png")
    assert store.image_sizes([PICTURE.hash, "no"]) == {PICTURE.hash: ("image/png", 4, 2)}
    write(store, Change(with_picture, creative("p")))
    write(store, Change(None, creative("later1")), now=NOW + timedelta(days=2))
    assert store.image(PICTURE.hash) is not None  # the banner still shows it
    write(store, Change(in_html, creative("h")))
    write(store, Change(None, creative("later2")), now=NOW + timedelta(hours=23))
    assert store.image(PICTURE.hash) is not None
    write(store, Change(None, creative("later3")), now=NOW + timedelta(hours=25))
    assert store.image(PICTURE.hash) is None


def test_a_picture_that_comes_back_into_use_stays(store: Store):
    fill(store)
    shown = creative("p", image=Image(alt="x", hash=PICTURE.hash, w=4, h=2))
    write(store, Change(None, shown), images=(PICTURE,))
    write(store, Change(shown, None))
    write(store, Change(None, shown), images=(PICTURE,), now=NOW + timedelta(days=2))
    write(store, Change(None, creative("later")), now=NOW + timedelta(days=4))
    assert store.image(PICTURE.hash) is not None


def test_vectors_are_kept_by_encoder_and_text(store: Store):
    vectors = {f"h{n}": np.full(4, n, np.float32) for n in range(2500)}
    store.put_vectors("mini", vectors)
    found = store.vectors("mini", [*vectors, "none"])
    assert found.keys() == vectors.keys()
    assert all((found[hash] == vectors[hash]).all() for hash in vectors)
    assert found["h3"].dtype == np.float32
    assert store.vectors("other", vectors) == {}
    store.put_vectors("mini", {"h1": np.zeros(4, np.float32)})
    assert not store.vectors("mini", ["h1"])["h1"].any()


def facts(content: str, encoder: str = "static", **fields: object) -> PageFacts:
    vector = np.array([0.6, 0.8], np.float32)
    return with_(
        PageFacts(content, EncoderId(encoder), vector, (Topic(TopicId("1"), "Cars", 0.5),), language="en"),
        **fields,
    )


def test_page_facts_reach_other_workers_in_order(store: Store):
    store.put_pages([facts("a"), facts("b", vector=None, sensitive=frozenset({"crime"}))], NOW)
    seen = store.last_page()
    store.put_pages([facts("a", "mini"), facts("a", intent="decision")], NOW)
    news = store.pages_since(seen)
    assert [(page.content_hash, page.encoder_id, page.intent) for _, page in news] == [
        ("a", "mini", None),
        ("a", "static", "decision"),
    ]
    assert store.pages_since(news[-1][0]) == []
    (b,) = store.page_facts("b")
    assert b.vector is None and b.sensitive == {"crime"}
    first = store.page_facts("a")[0]
    assert first.vector is not None and first.vector.tolist() == pytest.approx([0.6, 0.8])
    assert first.topics == (Topic(TopicId("1"), "Cars", 0.5),)
    assert store.page_facts("c") == []


def test_a_url_is_defined_for_its_publisher_alone_and_forgotten_in_time(store: Store):
    store.put_page_urls([("daily", "u1", "a")], NOW)
    store.put_page_urls([("daily", "u1", "b")], NOW + timedelta(days=1))
    store.put_page_urls([("daily", "u2", "a")], NOW)
    store.put_pages([facts("a")], NOW)
    store.put_pages([facts("b")], NOW + timedelta(days=1))
    assert store.page_url("daily", "u1") == ("b", NOW + timedelta(days=1))
    assert store.page_url("other", "u1") is None
    assert sorted(store.page_urls()) == [("daily", "u1", "b"), ("daily", "u2", "a")]
    assert list(store.page_urls(NOW + timedelta(hours=1))) == [("daily", "u1", "b")]
    store.forget_pages(NOW + timedelta(hours=1))
    assert list(store.page_urls()) == [("daily", "u1", "b")]
    assert [page.content_hash for _, page in store.pages_since(0)] == ["b"]


def test_a_setting_is_settled_once(store: Store):
    assert store.setting("currency") is None
    assert store.settle("currency", "EUR") == "EUR"
    assert store.settle("currency", "USD") == "EUR"
    assert store.setting("currency") == "EUR"


def test_a_page_of_things_goes_on_behind_the_last(store: Store):
    fill(store, 5)
    other = Advertiser("shoes", "Shoes", ("shoes.example",))
    write(store, Change(None, other), Change(None, campaign("walk", advertiser="shoes")),
          Change(None, creative("c000001b", campaign="walk")))  # fmt: skip
    assert [e.id for e in store.page("creative", limit=2)] == ["c000000", "c000001"]
    assert [e.id for e in store.page("creative", after="c000001", limit=2)] == ["c000001b", "c000002"]
    assert [e.id for e in store.page("creative", advertiser="shoes")] == ["c000001b"]
    assert [e.id for e in store.page("campaign", advertiser="shoes")] == ["walk"]
    assert [e.id for e in store.page("advertiser", advertiser="shoes")] == ["shoes"]
    assert store.page("publisher", advertiser="shoes") == []
    assert [c.id for c in store.creatives_of("shoes")] == ["c000001b"]


def _add_creatives(url: str, name: str) -> None:
    store = open_store(url)
    for n in range(20):
        while True:
            try:
                write(store, Change(None, creative(f"{name}{n}")))
                break
            except CatalogConflict:
                continue
    store.close()


def test_writers_in_several_processes_lose_nothing(store: Store, store_url: str):
    fill(store, 0)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_creatives, args=(store_url, name)) for name in ("a", "b")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(ids(store)) == 40
    assert store.versions().catalog == 41


def test_writers_in_several_threads_lose_nothing(store: Store):
    fill(store, 0)

    def add(name: str) -> None:
        for n in range(20):
            store.put_vectors("mini", {f"{name}{n}": np.ones(2, np.float32)})

    threads = [threading.Thread(target=add, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.vectors("mini", [f"{name}{n}" for name in "abcd" for n in range(20)])) == 80


def test_two_first_openings_at_once_make_one_store(store_url: str):
    url, errors = store_url, []

    def first() -> None:
        try:
            open_store(url).close()
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    store = open_store(url)
    assert store.versions() == Versions(0, 0, 0)
    store.close()


HOSTILE = [
    "\0",
    "c000001\0",
    "\ud800",
    "c000001\udfff",
    "'; DROP TABLE creatives; --",
    "%s",
    "?",
    "a" * 1_000_000,
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_cannot_be_kept_is_not_found_and_breaks_nothing(store: Store, text: str):
    fill(store)
    kinds: list[Kind] = ["publisher", "advertiser", "campaign", "creative"]
    assert [store.find(kind, [text]) for kind in kinds] == [{}] * 4
    assert store.find("creative", [text, "c000001"]).keys() == {"c000001"}
    assert store.approvals_of("daily", [text]) == {}
    assert store.image(text) is None and store.image_sizes([text]) == {}
    if text.isascii():
        assert store.page("creative", advertiser=text.replace("\0", "")) == []
        assert [one.id for one in store.page("creative", after=text)] == [
            one for one in ("c000000", "c000001", "c000002") if one > text
        ]


@pytest.mark.parametrize("text", [*HOSTILE[:2], *HOSTILE[4:7], "\U0001f6b2 \x1f\x7f\u2028\ufeff"])
def test_what_is_said_comes_back_as_it_was_said(store: Store, text: str):
    fill(store)
    write(store, Change(None, creative("said", headline=text)))
    assert store.find("creative", ["said"]) == {"said": creative("said", headline=text)}
    assert store.journal()[-1][6] == msgspec.json.encode(creative("said", headline=text))
    with store.read() as reader:
        assert creative("said", headline=text) in [one for batch in reader.creatives() for one in batch]
    store.put_pages([facts("p", keyphrases=(text,))], NOW)
    assert store.pages_since(0)[0][1].keyphrases == (text,)
    picture = HostedImage("cd" * 32, "image/png", 1, 1, bytes(range(256)) * 4096)
    write(store, Change(None, creative("shown", image=Image(alt="x", hash=picture.hash))), images=(picture,))
    assert store.image(picture.hash) == (picture.data, "image/png")
