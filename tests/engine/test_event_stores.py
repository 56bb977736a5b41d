"""Events are kept once and settled with what keeps them; budgets hold; what is over is deleted."""

from datetime import UTC, datetime, timedelta

import pytest

from engine.errors import MoneyError
from engine.events import Asked, Event, Row, date_of, day_of
from engine.money import ALLOWED_CLICKS, LEASE_S, Caps, Entry, Use
from engine.store import open_store

NOW = datetime(2026, 11, 23, 18, 5, tzinfo=UTC)
TODAY = day_of(NOW)
LET_GO = int(NOW.timestamp()) // 60 + 31


def event(
    number: int, kind="impression", *, price=0, campaign="spring", ivt=0, slot=0, billing_day=TODAY, **more
):
    row = {
        "view": number.to_bytes(16, "big"), "slot": slot, "kind": kind, "day": TODAY, "publisher": "planet",
        "section": "sport", "topic": "483", "campaign": campaign, "creative": f"{campaign}-1", "device": "phone",
        "part": "evening", "weather": "rain", "ivt": ivt, "price_micros": price,
    }  # fmt: skip
    return Event(Row(**row | more), billing_day, LET_GO)


class Desk:
    """A store of events and of money."""

    def __init__(self, url):
        self.store = open_store(url)
        self.events, self.money = self.store.events(), self.store.money()

    def spent(self, campaign="spring"):
        return self.money.billed(campaign, TODAY - 400, TODAY + 400).micros

    def rows(self):
        return self.store.rows(
            "SELECT view, slot, kind, ivt, price_micros FROM events ORDER BY view, slot, kind"
        )

    def faults(self):
        return self.money.faults(TODAY - 35)


@pytest.fixture
def desk(store_url):
    desk = Desk(store_url)
    yield desk
    desk.store.close()


def test_an_event_counts_once_however_often_it_is_told(desk):
    batch = [event(1, price=7), event(1, price=7), event(2, price=7), event(1, "click")]
    assert desk.events.keep(batch).new == 3
    again = desk.events.keep([*batch, event(3, price=7)])
    assert (again.new, again.again) == (1, 4)
    assert desk.spent() == 21
    assert len(desk.rows()) == 4
    assert desk.faults() == []


def test_placements_of_a_view_are_told_apart(desk):
    assert desk.events.keep([event(1, slot=0, price=1), event(1, slot=1, price=2)]).new == 2
    assert desk.spent() == 3


def test_an_event_that_is_told_in_a_burst_is_invalid(desk):
    desk.events.keep([event(1, price=7), event(1, ivt=1), event(1, price=7)])
    assert [row[3:] for row in desk.rows()] == [(1, 0)]
    assert desk.spent() == 0


def test_no_budget_is_exceeded_and_the_excess_is_known(desk):
    desk.money.set_caps({"spring": Caps(total=25, daily=None)})
    desk.events.keep([event(n, price=10) for n in range(2)])
    desk.events.keep([event(n, price=10) for n in range(5)])
    assert desk.spent() == 25
    assert sorted(row[4] for row in desk.rows()) == [0, 0, 5, 10, 10]
    assert desk.store.rows("SELECT spent, over FROM accounts") == [(25, 25)]
    assert desk.store.rows("SELECT events, micros FROM ledger") == [(3, 25)]
    assert desk.faults() == []


def test_a_day_of_the_flights_zone_has_its_own_bound(desk):
    desk.money.set_caps({"spring": Caps(total=None, daily=15)})
    desk.events.keep([event(n, price=10) for n in range(3)])
    desk.events.keep([event(n, price=10, billing_day=TODAY + 1) for n in range(3, 6)])
    assert desk.store.rows("SELECT day, utc_day, events, micros FROM ledger ORDER BY day") == [
        (TODAY, TODAY, 2, 15),
        (TODAY + 1, TODAY, 2, 15),
    ]


def test_what_was_spent_before_a_budget_was_set_counts(desk):
    desk.events.keep([event(n, price=10) for n in range(3)])
    desk.money.set_caps({"spring": Caps(total=35, daily=None)})
    desk.events.keep([event(n, price=10) for n in range(3, 6)])
    assert desk.spent() == 35


@pytest.mark.parametrize("name", ['a"b', "a\\b", 'a\\"', "{a,b}", "NULL", "a b", "ü,", ""])
def test_a_campaign_of_any_name_is_booked_bounded_and_leased_as_others_are(desk, name):
    desk.money.set_caps({name: Caps(total=25, daily=20), "other": Caps(total=100, daily=None)})
    desk.events.keep([event(n, price=10, campaign=name) for n in range(2)] + [event(9, price=1)])
    desk.events.keep([event(n, price=10, campaign=name, publisher=name) for n in range(2, 5)])
    assert desk.spent(name) == 20
    assert desk.store.rows('SELECT campaign, "over" FROM accounts ORDER BY spent') == [
        ("other", 0),
        (name, 30),
    ]
    assert set(desk.money.lease("a", [use(campaign=name), use(campaign="other")], NOW)) == {name, "other"}
    assert desk.faults() == []


def use(want=1000, shown=0, least=10, campaign="spring", day=TODAY):
    return Use(campaign, day, {(day, LET_GO): shown} if shown else {}, want, least)


def test_leases_and_what_they_hold_never_exceed_a_budget(desk):
    desk.money.set_caps({"spring": Caps(total=100, daily=None)})
    a = desk.money.lease("a", [use()], NOW)["spring"]
    b = desk.money.lease("b", [use()], NOW)["spring"]
    assert a and b and a + b <= 100
    for _ in range(50):  # both show all that they may, and no event comes
        shown_a, a = a, desk.money.lease("a", [use(shown=a)], NOW)["spring"]
        shown_b, b = b, desk.money.lease("b", [use(shown=b)], NOW)["spring"]
        assert shown_a >= 0 <= shown_b
    assert (a, b) == (0, 0)
    assert 90 < desk.store.rows("SELECT sum(micros) FROM holds")[0][0] <= 100  # what pays for none is left


def test_what_is_held_is_free_again_when_its_event_can_come_no_more(desk):
    desk.money.set_caps({"spring": Caps(total=100, daily=None)})
    first = desk.money.lease("a", [use(want=100)], NOW)["spring"]
    desk.money.lease("a", [use(want=0, shown=first)], NOW)
    later = NOW + timedelta(minutes=32)
    assert desk.money.lease("b", [use(want=10**6, least=100)], later)["spring"] == 100


def test_what_was_shown_so_long_ago_that_no_event_can_come_is_not_held(desk):
    desk.money.set_caps({"spring": Caps(total=100, daily=None)})
    told_late = NOW + timedelta(minutes=31)
    assert desk.money.lease("a", [use(want=100, least=100, shown=60)], told_late) == {"spring": 100}


@pytest.mark.parametrize("event_first", [False, True])
def test_an_event_takes_the_place_of_what_was_held_for_it(desk, event_first):
    desk.money.set_caps({"spring": Caps(total=100, daily=None)})
    desk.money.lease("a", [use(want=40, least=40)], NOW)
    steps = [
        lambda: desk.money.lease("a", [use(want=0, shown=30)], NOW),
        lambda: desk.events.keep([event(1, price=30)]),
    ]
    for step in reversed(steps) if event_first else steps:
        step()
    assert desk.store.rows("SELECT sum(micros) FROM holds") == [(0,)]
    assert desk.spent() == 30
    assert desk.money.lease("b", [use(want=10**6, least=71)], NOW)["spring"] == 0
    assert desk.money.lease("b", [use(want=10**6, least=70)], NOW)["spring"] == 70


def test_a_slice_of_a_worker_that_died_is_free_when_its_tokens_are_dead(desk):
    desk.money.set_caps({"spring": Caps(total=100, daily=None)})
    desk.money.lease("a", [use(want=100, least=100)], NOW)
    assert desk.money.lease("b", [use()], NOW + timedelta(seconds=LEASE_S + 1))["spring"] == 0
    late = NOW + timedelta(seconds=LEASE_S + 1801)
    assert desk.money.lease("b", [use(least=100)], late)["spring"] == 100


def test_a_budget_that_is_cut_takes_its_slices_back(desk):
    desk.money.set_caps({"spring": Caps(total=1000, daily=None)})
    assert desk.money.lease("a", [use(want=500, least=500)], NOW)["spring"] == 500
    desk.money.set_caps({"spring": Caps(total=100, daily=None)})
    assert desk.money.lease("a", [use(want=500, least=50)], NOW)["spring"] == 100
    desk.money.set_caps({"spring": Caps(total=None, daily=None)})
    assert desk.money.lease("a", [use()], NOW) == {}


def test_a_slice_of_yesterday_pays_nothing_of_today(desk):
    desk.money.set_caps({"spring": Caps(total=None, daily=100)})
    desk.money.lease("a", [use(want=100, least=100)], NOW)
    assert desk.money.lease("a", [use(want=100, least=100, day=TODAY + 1)], NOW)["spring"] == 100
    assert desk.money.lease("b", [use(want=100, least=100)], NOW)["spring"] == 100


def test_a_publishers_billed_clicks_are_bounded_by_its_impressions(desk):
    desk.events.keep([event(n, "click", price=5) for n in range(2 * ALLOWED_CLICKS)])
    assert desk.spent() == 5 * ALLOWED_CLICKS
    desk.events.keep([event(n) for n in range(1000, 2000)])
    desk.events.keep([event(n, "click", price=5) for n in range(1000, 2000)])
    assert desk.spent() == 5 * (ALLOWED_CLICKS + 50)
    desk.events.keep([event(n, "click", price=5, publisher="globe") for n in range(3000, 3010)])
    assert desk.spent() == 5 * (ALLOWED_CLICKS + 60)
    assert desk.faults() == []


def refund(key="r1", micros=10, **more):
    return Entry(key, NOW, "operator", "refund", "spring", TODAY, micros, **more)


def test_a_refund_is_written_once_and_gives_back_no_more_than_was_billed(desk):
    desk.events.keep([event(n, price=10) for n in range(3)])
    assert desk.money.refund(refund(), TODAY, TODAY)
    assert not desk.money.refund(refund(note="again"), TODAY, TODAY)
    with pytest.raises(MoneyError, match="stands for another"):
        desk.money.refund(refund(micros=11), TODAY, TODAY)
    with pytest.raises(MoneyError, match="at most 20"):
        desk.money.refund(refund("r2", 21), TODAY, TODAY)
    assert desk.money.refund(refund("r2", 20), TODAY, TODAY)
    booked = desk.money.billed("spring", TODAY, TODAY)
    assert (booked.micros, booked.refunded) == (30, 30)


def test_a_closed_day_is_written_into_the_journal_once(desk):
    desk.events.keep([event(n, price=10) for n in range(3)])
    assert desk.money.close(TODAY, NOW) == 0
    assert desk.money.close(TODAY + 1, NOW) == 1
    assert desk.money.close(TODAY + 1, NOW) == 0
    assert desk.faults() == []


def test_what_is_booked_on_a_closed_day_by_a_clock_that_went_back_is_in_the_journal_too(desk):
    desk.events.keep([event(1, price=10), event(2, price=7)])
    desk.money.close(TODAY + 1, NOW)
    desk.events.keep([event(3, price=5), event(4, price=5)])
    desk.events.keep([event(5, price=1)])
    assert desk.money.close(TODAY + 1, NOW) == 0
    assert desk.spent() == 28
    assert desk.faults() == []
    told = [row[0] for row in desk.store.rows("SELECT micros FROM money_journal ORDER BY seq")]
    assert told == [17, 10, 1]
    with desk.store.writing() as db:
        db.execute("UPDATE money_journal SET micros = micros + 1 WHERE micros = 1")
    assert any("the journal" in found for found in desk.faults())


@pytest.mark.parametrize(
    ("tampering", "fault"),
    [
        ("UPDATE ledger SET micros = micros + 1", "the ledger"),
        ("UPDATE ledger SET micros = micros + 0.5", "the ledger"),
        ("DELETE FROM events WHERE slot = 0", "events say"),
        ("UPDATE events SET ivt = 1", "invalid event"),
        ("UPDATE accounts SET spent = 0", "the account"),
        ("UPDATE money_journal SET micros = 0", "the journal"),
    ],
)
def test_books_that_do_not_agree_are_found(desk, tampering, fault):
    desk.money.set_caps({"spring": Caps(total=1000, daily=None)})
    desk.events.keep([event(1, price=10), event(1, "click", price=10, slot=1)])
    desk.money.close(TODAY + 1, NOW)
    assert desk.faults() == []
    with desk.store.writing() as db:
        db.execute(tampering)
    assert any(fault in found for found in desk.faults())


def test_an_amount_that_is_no_whole_number_is_found_where_a_file_can_hold_one(tmp_path):
    desk = Desk(f"sqlite:///{tmp_path}/tactful.db")
    desk.events.keep([event(1, price=10)])
    with desk.store.writing() as db:
        db.execute("UPDATE ledger SET micros = micros + 0.5")
    assert any("no whole number" in found for found in desk.faults())
    desk.store.close()


def test_raw_days_are_deleted_after_35_days_and_money_stays(desk):
    desk.events.keep(
        [event(1, price=10), event(2, "click", price=3)], [Asked(TODAY, "planet", "sport", 3, 2)]
    )
    assert desk.events.purge(NOW + timedelta(days=35)) == {"events": 0, "decided": 0, "click_bounds": 0}
    assert desk.events.purge(NOW + timedelta(days=36)) == {"events": 2, "decided": 1, "click_bounds": 1}
    assert desk.spent() == 13
    assert desk.money.faults(TODAY + 1) == []


def test_decisions_and_conversions_are_counted_by_day(desk):
    desk.events.keep([], [Asked(TODAY, "planet", "sport", 3, 2), Asked(TODAY, "planet", "sport", 1, 1)])
    assert desk.store.rows("SELECT asked, filled FROM decided") == [(4, 3)]
    desk.events.put_conversions("spring", [(TODAY, 4), (TODAY - 1, 1)])
    desk.events.put_conversions("spring", [(TODAY, 5)])
    assert desk.events.conversions("spring") == [(TODAY - 1, 1), (TODAY, 5)]
    assert date_of(TODAY) == NOW.date()
