"""`tactful prove money`: what campaigns are billed is what happened, to the micro-unit, whatever happened on the way.

A month's end of page views whose truth is known is told to several processes over one store: shuffled, in part twice
and to two processes, in part never, forged, too late, or by machines. One process is killed while it writes, and goes
on behind what it was acknowledged. Then every invoice has to equal the truth, which is added up here from the page
views alone. How much this finds is itself measured, by faults planted in the books (`engine.prove.money_planted`).
"""

from __future__ import annotations

import json
import multiprocessing
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from engine.campaign import Campaign, Flight
from engine.door import Door
from engine.errors import Busy, MoneyError, ProofError
from engine.event_writer import EventWriter
from engine.events import EPOCH, KINDS, Event, oldest_kept
from engine.invoices import invoice, month_of, refund
from engine.money import ALLOWED_CLICKS, ALLOWED_PER_MILLE, Caps
from engine.pricing import terms_of
from engine.prove.money_planted import PLANTED, plant
from engine.store import open_store
from engine.tickets import LETTERS, Ticket, Tickets
from privacy.event_token import RANDOM_BYTES, Sealer

if TYPE_CHECKING:
    from engine.store import Store

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOURS = 60  # page views come for so long: over the end of a month, in every zone
NOW = START + timedelta(hours=HOURS + 1)
SECRET = b"proof of money".ljust(32, b".")
SEED = 20261129
PUBLISHERS = ("planet", "globe", "gazette")
FRAUD = "clicker"  # a publisher whose readers click on everything
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Auckland")
MONTHS = ("2026-11", "2026-12")
SMALL = 6000  # events, to find a planted fault by
KILLED = ("acknowledged too early",)  # planted faults that show where a process is killed
TRIES = 30  # on a disk that others keep busy
BATCH = 400  # events told at once
PER_VIEW = 3.4  # deliveries of a page view, on average
_KILL_WITHIN_S = 1800.0


class Delivery(NamedTuple):
    """A token that comes, and when."""

    token: str
    at: datetime
    machine: bool


class Happened(NamedTuple):
    """An event that counts and is paid for."""

    campaign: str
    day: int  # in the flight's zone
    price: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was billed and what was true."""

    events: int
    processes: int
    killed: int
    campaigns: int
    billed_micros: int
    differences: tuple[str, ...]
    planted: Mapping[str, bool] = field(default_factory=dict)  # planted fault → whether it was found

    @property
    def holds(self) -> bool:
        """Tell whether the promise held and every planted fault was found."""
        return not self.differences and all(self.planted.values())

    def plain(self) -> dict[str, Any]:
        """Give the verdict as JSON values."""
        return {
            "proof": "money",
            "holds": self.holds,
            "events": self.events,
            "processes": self.processes,
            "killed": self.killed,
            "campaigns": self.campaigns,
            "billed_micros": self.billed_micros,
            "differences": list(self.differences),
            "planted_found": f"{sum(self.planted.values())}/{len(self.planted)}",
            "planted_missed": [name for name, found in self.planted.items() if not found],
        }

    def lines(self) -> Iterator[str]:
        """Yield the verdict as one line of JSON."""
        yield json.dumps(self.plain(), ensure_ascii=False)


def prove_money(events: int = 1_000_000, processes: int = 4, *, planted: bool = True) -> Verdict:
    """Prove it with about so many events told; with `planted`, measure the proof by planted faults too."""
    found = {}
    if planted:
        found = {name: bool(_run(SMALL, 2 if name in KILLED else 0, name).differences) for name in PLANTED}
    run = _run(events, processes, None)
    return Verdict(
        run.events, processes, run.killed, run.campaigns, run.billed_micros, run.differences, found
    )


def campaigns() -> tuple[Campaign, ...]:
    """Give campaigns of every price, zone and kind of budget; prices that no power of ten divides."""
    made = []
    for number, zone in enumerate(ZONES):
        flights = (
            Flight(timezone=zone),
            Flight(timezone=zone, budget_micros=123_457 * (number + 1)),
            Flight(timezone=zone, daily_budget_micros=54_321 * (number + 1)),
            Flight(timezone=zone, budget_micros=200_001, daily_budget_micros=90_003),
        )
        for kind, flight in enumerate(flights):
            price = 1_000_000 + 98_765 * number + 4_321 * kind
            bid = ("cpm_micros", "vcpm_micros", "cpc_micros")[(number + kind) % 3]
            blank = Campaign(id=f"c{number}-{kind}", advertiser="acme", name="C", flight=flight)
            made.append(replace(blank, **{bid: price // 7 if bid == "cpc_micros" else price * 3}))
    fraud = Campaign(id="fraud", advertiser="acme", name="F", cpc_micros=333_333)
    return (*made, fraud)


def happens(
    number: int, tickets: Tickets, shown: Sequence[Campaign]
) -> tuple[list[Delivery], list[Happened]]:
    """Return what is told of one page view, and what is true of it."""
    chance = random.Random(f"{SEED}/{number}")  # noqa: S311 - a scenario, which is to come again
    at = START + timedelta(milliseconds=chance.randrange(HOURS * 3_600_000))
    publisher = FRAUD if number % 6 == 0 else chance.choice(PUBLISHERS)
    random_bytes = chance.randbytes(RANDOM_BYTES)
    at_ms = int(at.timestamp() * 1000)
    told: list[Delivery] = []
    true: list[Happened] = []
    for slot in range(chance.choice((1, 1, 2, 3))):
        campaign = shown[-1] if publisher == FRAUD else chance.choice(shown[:-1])
        terms = terms_of(campaign)
        day = at.astimezone(ZoneInfo(terms.timezone)).date().toordinal() - EPOCH
        # Second prices: anything up to the bid.
        price = terms.event_price - chance.randrange(terms.event_price // 3)
        ticket = Ticket(
            publisher, "other", "483", campaign.id, f"{campaign.id}-1", 0, 0, 0, False, KINDS.index(terms.kind), price
        )  # fmt: skip
        sealed = tickets.write(at_ms, day - at_ms // 86_400_000, tickets.packed(ticket), random_bytes, slot)
        likely = {"impression": 0.97, "viewable": 0.6, "click": 0.9 if publisher == FRAUD else 0.02}
        for kind in KINDS:
            if chance.random() >= likely[kind]:
                continue
            fate = chance.choices(
                ("told", "twice", "lost", "late", "forged", "machine"), (80, 10, 3, 2, 2, 3)
            )[0]
            after = timedelta(seconds=chance.uniform(1.5, 1700))
            token = LETTERS[kind] + sealed
            match fate:
                case "late":
                    after += timedelta(minutes=40)
                case "forged":
                    token = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
                case "lost":
                    continue
            delivery = Delivery(token, at + after, fate == "machine")
            told += [delivery] * (2 if fate == "twice" else 1)
            if fate in ("told", "twice") and kind == terms.kind:
                true.append(Happened(campaign.id, day, price))
    return told, true


@dataclass(frozen=True, slots=True)
class _Ran:
    events: int
    killed: int
    campaigns: int
    billed_micros: int
    differences: tuple[str, ...]


def _run(events: int, processes: int, fault: str | None, database: str | None = None) -> _Ran:
    """Run it over a database, or over a file of its own. Faults are planted in what keeps a file."""
    views = int(events / PER_VIEW)
    shown = campaigns()
    with tempfile.TemporaryDirectory(prefix="tactful-proof-") as name:
        url = database or f"sqlite:///{name}/proof.db"
        store = open_store(url)
        try:
            caps = {c.id: Caps(c.flight.budget_micros, c.flight.daily_budget_micros) for c in shown}
            store.money().set_caps(caps)
            told, killed = _tell(url, views, processes, fault)
            with plant(fault):
                differences = [*_differences(store, shown, _truth(views, shown)), *_refunds(store, shown)]
            billed = sum(store.money().billed(c.id, 0, 10**6).micros for c in shown)
        finally:
            store.close()
    return _Ran(told, killed, len(shown), billed, tuple(differences))


def _truth(views: int, shown: Sequence[Campaign]) -> dict[tuple[str, int], int]:
    """Add up what happened, by campaign and day of its zone."""
    tickets = Tickets(Sealer(SECRET))
    sums: Counter[tuple[str, int]] = Counter()
    for number in range(views):
        for campaign, day, price in happens(number, tickets, shown)[1]:
            sums[campaign, day] += price
    return sums


def _differences(
    store: Store, shown: Sequence[Campaign], truth: Mapping[tuple[str, int], int]
) -> Iterator[str]:
    money = store.money()
    days: dict[str, dict[int, int]] = defaultdict(dict)
    for (id, day), micros in truth.items():
        days[id][day] = micros
    for campaign in shown:
        true = days[campaign.id]
        flight = campaign.flight
        if flight.daily_budget_micros is not None:
            true = {day: min(micros, flight.daily_budget_micros) for day, micros in true.items()}
        whole = sum(true.values())
        if flight.budget_micros is not None:
            whole = min(whole, flight.budget_micros)
        billed = money.billed(campaign.id, 0, 10**6).micros
        if campaign.id == "fraud":
            yield from _fraud(store, campaign, billed, whole)
        elif billed != whole:
            yield f"campaign {campaign.id}: billed {billed}, true {whole}"
        elif flight.budget_micros is None:  # else the total is spent by whichever events came first
            yield from _months(store, campaign, true)
    yield from money.faults(oldest_kept(NOW))


def _months(store: Store, campaign: Campaign, true: Mapping[int, int]) -> Iterator[str]:
    for text in MONTHS:
        month = month_of(text)
        wanted = sum(micros for day, micros in true.items() if month.first <= day <= month.last)
        made = invoice(store.money(), campaign, month, "EUR", NOW)
        if made.micros != wanted:
            yield f"campaign {campaign.id}, {text}: the invoice says {made.micros}, true is {wanted}"


def _fraud(store: Store, campaign: Campaign, billed: int, true: int) -> Iterator[str]:
    """Hold what a publisher's clicks cost against its bound: how much less they may be depends on their order."""
    clicks = store.rows(
        f"SELECT day, count(*) FROM events WHERE publisher = '{FRAUD}' AND kind = 'click' AND price_micros > 0"  # noqa: S608
        " GROUP BY day"
    )
    for day, count in clicks:
        ((seen,),) = store.rows(
            f"SELECT count(*) FROM events WHERE publisher = '{FRAUD}' AND day = {day}"  # noqa: S608
            " AND kind = 'impression' AND ivt = 0"
        )
        if count > (most := ALLOWED_CLICKS + seen * ALLOWED_PER_MILLE // 1000):
            yield f"publisher {FRAUD}, UTC day {day}: {count} clicks were billed, at most {most} may be"
    if billed > true:
        yield f"campaign {campaign.id}: billed {billed}, true is at most {true}"


def _refunds(store: Store, shown: Sequence[Campaign]) -> Iterator[str]:
    """Give some money back, each time twice by one key, and too much once."""
    money = store.money()
    for campaign in shown[:4]:
        month = month_of(MONTHS[0])
        before = invoice(money, campaign, month, "EUR", NOW)
        back = before.due_micros // 3
        if back:
            for _ in range(2):
                refund(money, campaign.id, month, "r1", back, "the proof's", "proof", NOW)
        after = invoice(money, campaign, month, "EUR", NOW)
        if after.due_micros != before.due_micros - back:
            yield f"campaign {campaign.id}: due {after.due_micros}, expected {before.due_micros - back}"
        try:
            refund(money, campaign.id, month, "r2", after.due_micros + 1, "the proof's", "proof", NOW)
        except MoneyError:
            continue
        yield f"campaign {campaign.id}: more was given back than was billed"


def _tell(url: str, views: int, processes: int, fault: str | None) -> tuple[int, int]:
    """Let processes tell of the page views; kill one half-way, and let another go on behind it."""
    spawn = multiprocessing.get_context("spawn")
    if not processes:  # here, and nothing is killed
        told = spawn.Value("q", 0, lock=False)
        work(url, views, 0, 1, fault, spawn.Value("q", 0, lock=False), told)
        return told.value, 0
    kept = [spawn.Value("q", 0, lock=False) for _ in range(processes)]
    sizes = [spawn.Value("q", 0, lock=False) for _ in range(processes)]

    def begin(number: int) -> Any:
        arguments = (url, views, number, processes, fault, kept[number], sizes[number])
        process = spawn.Process(target=work, args=arguments)
        process.start()
        return process

    running = [begin(number) for number in range(processes)]
    try:
        killed = 0
        until = time.monotonic() + _KILL_WITHIN_S
        while running[0].is_alive() and time.monotonic() < until:
            if sizes[0].value and kept[0].value >= sizes[0].value // 2:
                running[0].kill()
                killed = 1
                break
            time.sleep(0.001)
        running[0].join()
        if killed:
            running[0] = begin(0)
        for process in running:
            process.join()
            if process.exitcode != 0:
                raise ProofError(f"a process of the proof ended with exit code {process.exitcode}")
    finally:
        for process in running:
            if process.is_alive():
                process.kill()
    return sum(size.value for size in sizes), killed


def work(url: str, views: int, number: int, processes: int, fault: str | None, kept: Any, size: Any) -> None:
    """Tell of this process' page views, and again of those of its neighbour that are told twice.

    `kept` says how far it was acknowledged; what is behind that is not told again.
    """
    tickets = Tickets(Sealer(SECRET))
    shown = campaigns()
    mine: list[Delivery] = []
    for view in range(views):
        owner = view % processes
        if owner not in (number, (number + 1) % processes):
            continue
        told = happens(view, tickets, shown)[0]
        if owner == number:
            mine += [one for at, one in enumerate(told) if one not in told[:at]]
        if (owner - 1) % processes == number:
            mine += [one for at, one in enumerate(told) if one in told[:at]]
    random.Random(f"{SEED}/order/{number}").shuffle(mine)  # noqa: S311 - an order that is to come again
    size.value = len(mine)
    clock = [NOW]
    with plant(fault):
        store = open_store(url)
        writer = EventWriter(store.events(), gather_s=0)
        writer.start()
        door = Door(tickets, writer, lambda: clock[0])
        for at in range(kept.value, len(mine), BATCH):
            batch: list[Event] = []
            for token, moment, machine in mine[at : at + BATCH]:
                clock[0] = moment
                batch += door.events([token], machine=machine)
            _keep(writer, batch)
            kept.value = min(at + BATCH, len(mine))
        writer.stop()
        store.close()


def _keep(writer: EventWriter, batch: Sequence[Event]) -> None:
    """Have events kept; what was not acknowledged is told again, as a publisher's server would. Raises Busy."""
    for _ in range(TRIES):
        try:
            return writer.keep(batch)
        except Busy:
            continue
    return writer.keep(batch)
