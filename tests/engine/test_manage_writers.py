"""Two who change one thing at once: nobody's change is written over unseen, on both kinds of store."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import msgspec
import pytest

from engine.campaign import Campaign
from engine.errors import Overtaken
from engine.load import apply, plan
from engine.load_files import Values
from engine.manage import ManageStore, Over, edit, get, plain, put
from engine.store import open_store
from tests.engine.test_manage import BIKES, KNOWN, NOW, campaign

ROUNDS = 12


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/tactful.db"
    else:
        pytest.importorskip("psycopg", reason="needs the extra 'postgres'")
        with request.getfixturevalue("postgres").database() as url:
            yield url


@pytest.fixture
def two(url: str) -> Iterator[tuple[ManageStore, ManageStore]]:
    """Two processes' doors to one store, with a campaign."""
    stores = open_store(url), open_store(url)
    records = [
        {"kind": "advertiser", "id": "bikes", "name": "bikes", "domains": ["bikes.example"]},
        {"kind": "campaign", "id": "bikes-1", **campaign("bikes")},
    ]
    with plan(Values(records), stores[0], KNOWN, NOW) as planned:
        apply(planned, stores[0], "test", NOW)
    yield stores
    for store in stores:
        store.close()


def both(*work: Any) -> list[Any]:
    """Do two things at once; return what each returned or raised."""
    start = Barrier(len(work))

    def one(do: Any) -> Any:
        start.wait()
        try:
            return do()
        except Overtaken as error:
            return error

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(one, work))


def stands(store: ManageStore) -> Campaign:
    found = get(store, BIKES, "campaign", "bikes-1")
    assert isinstance(found, Campaign)
    return found


def save(store: ManageStore, seen: Campaign | None, **fields: object) -> Any:
    body = msgspec.json.encode(campaign("bikes", **fields))
    return lambda: put(store, KNOWN, BIKES, "campaign", "bikes-1", body, NOW, over=Over(seen))


def test_of_two_who_opened_the_same_form_one_saves_and_the_other_is_told(
    two: tuple[ManageStore, ManageStore],
):
    for number in range(ROUNDS):
        seen = stands(two[0])
        names = [f"round {number} by {who}" for who in "ab"]
        told = both(*(save(s, seen, name=name) for s, name in zip(two, names, strict=True)))
        refused = [isinstance(one, Overtaken) for one in told]
        assert sorted(refused) == [False, True]
        assert stands(two[0]).name == names[refused.index(False)]


def test_a_form_that_was_opened_before_a_stop_does_not_let_it_run_again(two: tuple[ManageStore, ManageStore]):
    seen = stands(two[0])
    edit(two[1], KNOWN, BIKES, "campaign", "bikes-1", lambda value: {**value, "status": "paused"}, NOW)
    with pytest.raises(Overtaken, match="open it again"):
        save(two[0], seen, name="Mine")()
    assert stands(two[0]).status == "paused"


def test_a_stop_and_another_change_at_once_both_hold(two: tuple[ManageStore, ManageStore]):
    for number in range(ROUNDS):
        status, price = ("paused", "active")[number % 2], 10 + number

        def change(store: ManageStore, **fields: object) -> Any:
            return lambda: edit(store, KNOWN, BIKES, "campaign", "bikes-1", lambda v: {**v, **fields}, NOW)

        told = both(change(two[0], status=status), change(two[1], cpm_micros=price))
        assert not any(isinstance(one, Overtaken) for one in told)
        assert (stands(two[1]).status, stands(two[1]).cpm_micros) == (status, price)


def test_what_was_to_be_new_is_not_written_over_what_came_first(two: tuple[ManageStore, ManageStore]):
    before = stands(two[0])
    with pytest.raises(Overtaken):
        save(two[0], None, name="New")()
    assert plain(stands(two[0])) == plain(before)
