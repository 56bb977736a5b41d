"""Many processes keep and bill over one PostgreSQL: each event once, no budget exceeded, nothing acknowledged lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

psycopg = pytest.importorskip("psycopg", reason="needs the extra 'postgres'")

from engine.errors import MoneyError  # noqa: E402 - after the skip
from engine.events import Asked, Event, day_of  # noqa: E402
from engine.money import ALLOWED_CLICKS, Caps, Entry  # noqa: E402
from engine.store import server_postgres  # noqa: E402
from engine.store.postgres import PostgresStore  # noqa: E402
from tests.engine.test_event_stores import event  # noqa: E402
from tests.postgres import Server  # noqa: E402

NOW = datetime(2026, 11, 23, 18, 5, tzinfo=UTC)
TODAY = day_of(NOW)
ROOT = Path(__file__).parents[2]
CAP = 90_001  # less than what `capped` would cost


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    with postgres.database() as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    with closing(PostgresStore(url)) as store:
        yield store


def start(script: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def world() -> list[Event]:
    """Give events of many campaigns, billing days and publishers, as all processes are told them."""
    drawn = random.Random(7)
    kinds = ("impression", "viewable", "click")
    events = []
    for number in range(3000):
        kind = drawn.choice(kinds[:2])
        campaign = drawn.choice(("capped", *(f"c{n:02}" for n in range(30))))
        more = {"publisher": drawn.choice(("daily", "globe")), "day": TODAY - drawn.randrange(2)}
        events.append(
            event(number, kind, price=drawn.randrange(5000), campaign=campaign, slot=number % 3,
                  billing_day=TODAY + drawn.randrange(2), **more)
        )  # fmt: skip
    # More clicks than are billed where there are no impressions.
    events += [event(n, "click", price=11, campaign="clicks", publisher="new") for n in range(4000, 4300)]
    return events


KEEPS = """
import random, sys
from engine.events import Asked
from engine.store import open_store, server_postgres
from tests.engine.test_money_postgres import TODAY, world
server_postgres.RETRIES = 0  # all take the same locks in the same order: no two wait for each other
events = world() * 2
random.Random(sys.argv[2]).shuffle(events)
store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
kept = [
    store.events().keep(events[at : at + 130], [Asked(TODAY, name, "sport", 2, 1) for name in ("b", "a")])
    for at in range(0, len(events), 130)
]
print(sum(one.new for one in kept), sum(one.again for one in kept))
store.close()
"""


def test_processes_that_are_told_the_same_events_in_any_order_book_the_truth(store: PostgresStore, url: str):
    money, events = store.money(), world()
    money.set_caps({"capped": Caps(CAP, None), "c00": Caps(10**9, None), "c01": Caps(None, 10**9)})
    children = [
        subprocess.Popen(
            [sys.executable, "-c", KEEPS, url, name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for name in "abc"
    ]  # fmt: skip
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for number in range(2, 30):  # meanwhile campaigns get budgets: what they spent before counts
        money.set_caps({f"c{number:02}": Caps(10**9 + number, None)})
    told = [tuple(map(int, child.communicate(timeout=120)[0].split())) for child in children]
    assert sum(new for new, _ in told) == len(events)
    assert sum(new + again for new, again in told) == 3 * 2 * len(events)

    truth = Counter()
    for row, _, _ in events:
        truth[row.campaign] += row.price_micros
    assert truth["capped"] > CAP
    lost = truth["capped"] - CAP
    truth |= {"capped": CAP, "clicks": 0}
    truth["capped"], truth["clicks"] = CAP, 11 * ALLOWED_CLICKS
    booked = {id: money.billed(id, TODAY - 9, TODAY + 9).micros for id in truth}
    assert booked == dict(truth)
    assert money.faults(TODAY - 9) == []
    assert store.rows('SELECT spent, "over" FROM accounts WHERE campaign = %s', ("capped",)) == [(CAP, lost)]
    batches = 3 * -(-2 * len(events) // 130)
    assert store.rows("SELECT publisher, asked, filled FROM decided ORDER BY publisher") == [
        ("a", 2 * batches, batches),
        ("b", 2 * batches, batches),
    ]
    assert store.rows("SELECT publisher, clicks FROM click_bounds WHERE clicks > 0") == [
        ("new", ALLOWED_CLICKS)
    ]


LEASES = """
import random, sys
from datetime import datetime, timedelta
from engine.events import Asked
from engine.money import Use
from engine.store import open_store
from tests.engine.test_event_stores import LET_GO, event
from tests.engine.test_money_postgres import NOW, TODAY
name, number = sys.argv[2], int(sys.argv[3])
store = open_store(sys.argv[1])
events, money, drawn = store.events(), store.money(), random.Random(name)
shown = {"spring": 0, "autumn": 0}
waiting = []
for step in range(60):
    uses = [Use(id, TODAY, {(TODAY, LET_GO): sum} if sum else {}, 40, 10) for id, sum in shown.items()]
    drawn.shuffle(uses)
    may = money.lease(name, uses, NOW + timedelta(seconds=step))
    shown = {id: 0 for id in shown}
    for id, left in may.items():
        while left >= 10 and drawn.random() < 0.9:
            left, shown[id], number = left - 10, shown[id] + 10, number + 1
            waiting.append(event(number, price=10, campaign=id))
    drawn.shuffle(waiting)
    events.keep(waiting[:7])
    del waiting[:7]
money.lease(name, [Use(id, TODAY, {(TODAY, LET_GO): sum} if sum else {}, -1, 0) for id, sum in shown.items()], NOW)
events.keep(waiting)
print(number, flush=True)
store.close()
"""


def test_what_processes_spend_hold_and_lease_never_exceeds_a_budget(store: PostgresStore, url: str):
    money = store.money()
    money.set_caps({"spring": Caps(2000, None), "autumn": Caps(None, 1510)})
    children = [start(LEASES, url, name, str(n * 10**6)) for n, name in enumerate("abc", 1)]
    sql = (
        "SELECT (SELECT sum(spent) FROM accounts WHERE campaign = a.campaign)"
        " + coalesce((SELECT sum(micros) FROM leases WHERE campaign = a.campaign), 0)"
        " + coalesce((SELECT sum(micros) FROM holds WHERE campaign = a.campaign), 0)"
        " FROM accounts AS a ORDER BY campaign"
    )
    looks = 0
    while any(child.poll() is None for child in children):
        (autumn,), (spring,) = store.rows(sql)
        assert autumn <= 1510 and spring <= 2000
        looks += 1
        time.sleep(0.01)
    assert [child.communicate()[0] and child.returncode for child in children] == [0, 0, 0] and looks > 5
    (autumn, spring) = store.rows('SELECT spent, "over" FROM accounts ORDER BY campaign')
    assert 1400 < autumn[0] <= 1510 and 1850 < spring[0] <= 2000  # slices that pay for no event are left
    assert autumn[1] == spring[1] == 0  # nothing was shown that could not be billed
    assert store.rows("SELECT sum(micros)::bigint FROM holds") == [(0,)]
    assert money.faults(TODAY - 1) == []


KEEPS_UNTIL_KILLED = """
import sys
from engine.store import open_store
from tests.engine.test_event_stores import event
store = open_store(sys.argv[1])
events, number = store.events(), 0
while True:
    events.keep([event(number * 50 + n, price=7, campaign=f"c{n % 5}") for n in range(50)])
    print(number, flush=True)
    number += 1
"""


@pytest.mark.parametrize("dies", ["process", "server"])
def test_no_acknowledged_event_is_lost_by_a_kill_and_none_is_booked_by_halves(store, url, postgres, dies):
    store.money().set_caps({"c1": Caps(10**9, None)})
    child = start(KEEPS_UNTIL_KILLED, url)
    for _ in range(20):
        child.stdout.readline()
    if dies == "server":
        postgres.stop(signal.SIGQUIT)
        postgres.start()
        time.sleep(0.2)
    child.kill()
    acknowledged = int((["19"] + child.communicate(timeout=30)[0].split())[-1]) + 1
    # What the process had sent when it died may be committed still.
    store.events().keep([event(10**9, campaign="c1", price=1)])
    numbers = {int.from_bytes(view, "big") for (view,) in store.rows("SELECT view FROM events")} - {10**9}
    assert len(numbers) % 50 == 0
    assert numbers == set(range(len(numbers)))
    assert acknowledged <= len(numbers) // 50 <= acknowledged + 1
    money = store.money()
    billed = sum(money.billed(f"c{n}", TODAY, TODAY).micros for n in range(5))
    assert billed == 7 * len(numbers) + 1
    assert money.faults(TODAY - 1) == []


def test_where_two_wait_for_each_other_it_is_begun_anew(store: PostgresStore, url: str):
    store.money().set_caps({"a": Caps(10**6, None), "b": Caps(10**6, None)})
    lock = "SELECT 1 FROM accounts WHERE campaign = %s FOR UPDATE"
    with psycopg.connect(url) as other:
        other.execute("SET deadlock_timeout = '1h'")  # so it is ours that is undone
        other.execute(lock, ("b",))
        told = []
        batch = [event(1, price=5, campaign="b"), event(2, price=5, campaign="a")]
        thread = threading.Thread(target=lambda: told.append(store.events().keep(batch)))
        thread.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%accounts%%'"
        while not store.rows(waits):
            time.sleep(0.01)
        other.execute(lock, ("a",))
    thread.join(30)
    assert (told[0].new, told[0].again) == (2, 0)
    assert store.money().faults(TODAY - 1) == []


def test_a_transaction_that_is_undone_ever_again_fails(store: PostgresStore):
    tries = []

    def act(db) -> None:
        tries.append(1)
        db.execute("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$")

    with pytest.raises(server_postgres.StoreError, match="cannot be written"):
        store.in_turn(act)
    assert len(tries) == server_postgres.RETRIES + 1


def test_refunds_at_once_give_back_no_more_than_was_billed(store: PostgresStore):
    money = store.money()
    store.events().keep([event(n, price=10) for n in range(10)])
    given, refused = [], []

    def give(key: str) -> None:
        try:
            if money.refund(Entry(key, NOW, "t", "refund", "spring", TODAY, 30), TODAY, TODAY):
                given.append(key)
        except MoneyError:
            refused.append(key)

    threads = [threading.Thread(target=give, args=(f"r{n // 2}",)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == len(set(given)) == 3
    assert len(refused) == 6
    assert money.billed("spring", TODAY, TODAY).refunded == 90


def test_a_day_closed_by_two_machines_is_written_once(store: PostgresStore, url: str):
    store.events().keep(
        [event(n, price=10, campaign=f"c{n}") for n in range(40)], [Asked(TODAY, "p", "s", 1, 1)]
    )
    with closing(PostgresStore(url)) as other:
        new = []
        threads = [
            threading.Thread(target=lambda money: new.append(money.close(TODAY + 1, NOW)), args=(money,))
            for money in (store.money(), other.money(), store.money())
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(new) == [0, 0, 40]
    assert store.money().faults(TODAY - 1) == []
