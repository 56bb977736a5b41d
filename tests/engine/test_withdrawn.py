"""What was deleted stays readable for a year, with its pictures, in every store; then it goes."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import pytest

from engine.change import LISTED, Change
from engine.creative import Image
from engine.images import HostedImage
from engine.store import open_store
from tests.world import NOW, advertiser, campaign, creative

DAY = timedelta(days=1)
PICTURE = HostedImage("ab" * 32, "image/png", 1, 1, b"png")
IMAGE = Image(alt="a", hash=PICTURE.hash, ext="png", w=1, h=1)


@pytest.fixture
def store(store_url):
    with closing(open_store(store_url)) as store:
        things = (advertiser(), campaign(), creative(image=IMAGE), creative("spring-2"))
        store.write([Change(None, one) for one in things], [PICTURE], store.versions(), "t", NOW)
        yield store


def write(store, *changes, now=NOW):
    store.write(list(changes), [], store.versions(), "t", now)


def ids(store, now=NOW, after="", limit=9):
    return [one.creative.id for one in store.withdrawn(after, limit, now)]


def purged(store, now):
    return store.purge(now, pages_before=now)


def everything():
    return [
        Change(one, None) for one in (creative(image=IMAGE), creative("spring-2"), campaign(), advertiser())
    ]


def test_a_deleted_creative_is_told_with_whose_it_was(store):
    assert ids(store) == []
    write(store, *everything())
    first, second = store.withdrawn("", 9, NOW)
    assert (first.creative, first.campaign, first.advertiser) == (
        creative(image=IMAGE),
        campaign(),
        advertiser(),
    )
    assert first.at == NOW and second.creative.id == "spring-2"
    assert ids(store, limit=1) == ["spring-1"] and ids(store, after="spring-1") == ["spring-2"]


def test_what_is_back_is_no_longer_deleted_and_may_be_deleted_again(store):
    write(store, Change(creative("spring-2"), None))
    write(store, Change(None, creative("spring-2", headline="again")))
    assert ids(store) == []
    write(store, Change(creative("spring-2", headline="again"), None), now=NOW + DAY)
    (one,) = store.withdrawn("", 9, NOW + DAY)
    assert (one.creative.headline, one.at) == ("again", NOW + DAY)


def test_pictures_of_what_was_deleted_go_after_the_year_and_not_before(store):
    write(store, *everything())
    last = NOW + LISTED
    assert purged(store, last)["withdrawn"] == 0 and ids(store, last) == ["spring-1", "spring-2"]
    assert store.image(PICTURE.hash) is not None
    gone = purged(store, last + timedelta(seconds=1))
    assert (gone["withdrawn"], gone["images"]) == (2, 0)
    assert ids(store, NOW) == []
    assert purged(store, last + 2 * DAY)["images"] == 1 and store.image(PICTURE.hash) is None


def test_a_picture_that_another_creative_shows_stays(store):
    write(store, Change(None, creative("spring-3", image=IMAGE)))
    write(store, Change(creative(image=IMAGE), None))
    purged(store, NOW + LISTED + DAY)
    purged(store, NOW + LISTED + 3 * DAY)
    assert store.image(PICTURE.hash) is not None


def test_a_picture_that_was_replaced_before_the_deletion_goes_after_a_day(store):
    write(store, Change(creative(image=IMAGE), creative()))
    write(store, Change(creative(), None))
    assert purged(store, NOW + DAY + timedelta(seconds=1))["images"] == 1
    assert ids(store) == ["spring-1"]
