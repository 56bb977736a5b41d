"""What is recorded of a decision: each placement gets the tokens of its events, its price, and a hold on a budget.

Nothing here reads or writes a store: tokens carry what their events will need, and prices are added up for the
process's next tick. In the strict profile no address of an answer says anything of the page view: impressions are
counted here, and clicks are not.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from contexts.context import PARTS_OF_DAY
from contexts.rungs import RUNGS
from engine.cache import Bounded
from engine.decision import Events, Filled, Placement, Ranked
from engine.events import KINDS, Asked, Event
from engine.message import Chosen
from engine.pricing import billing_day, event_price, held
from engine.rank import Shortlist
from engine.sections import OTHER
from engine.snapshot import Snapshot
from engine.tickets import DAY_MS, LETTERS, WEATHERS, Moment, Ticket, Tickets, event_of, hold_until
from privacy.event_token import RANDOM_BYTES
from privacy.visit import DEVICE_CLASSES
from privacy.workload import MOST_WEIGHT, NEARNESS, SLOTS

if TYPE_CHECKING:
    from engine.scene import Choice, Scene
    from privacy.visit import Visit

IMPRESSION, VIEWABLE, CLICK = LETTERS["impression"], LETTERS["viewable"], LETTERS["click"]
EVENTS_PATH = "/v1/events/"
CLICK_PATH = "/v1/click/"
PIXEL = ".gif"
QUARTER_MS = 900_000
MILLION = 1_000_000
PLANS = 4096
_LINK_END = b'\\"'


class Ledger(Protocol):
    """Where it is added up what campaigns show."""

    def show(self, campaign: str, day: int, until: int, micros: int) -> None:
        """Note that a placement was given to a campaign with a budget."""


class Notes(Protocol):
    """Where it is noted what decisions were asked."""

    def note(self, asked: Asked, events: Sequence[Event] = ()) -> None:
        """Keep it soon, or drop it."""


class Shown(NamedTuple):
    """What was chosen for a placement."""

    row: int
    price_micros: int  # of the event that is paid for
    chosen: Chosen | None = None  # the message that was drawn, where it has several
    share: float = 1.0  # of the ways in which the ranking may fall, those that show this creative here


class _Place(NamedTuple):
    """What one placement is recorded with, whenever it is shown."""

    filled: Filled
    parts: list[bytes]  # the creative's JSON without its own link
    timezone: str
    held: int  # of a budget; 0 where there is none
    ticket: Ticket
    packed: bytes


class _Kept(NamedTuple):
    """What was worked out over one snapshot. A key of `plans` names an object by its id, which a plan keeps alive."""

    snapshot: Snapshot
    plans: Bounded[tuple[int, str, bool], tuple[Choice, tuple[_Place, ...]]]


class Recorder:
    """Records decisions."""

    def __init__(
        self,
        tickets: Tickets,
        budgets: Ledger,
        notes: Notes,
        base_url: str,
        *,
        now: Callable[[], datetime],
        random_bytes: Callable[[int], bytes],
        strict: bool = False,
    ) -> None:
        self._tickets, self._budgets, self._notes = tickets, budgets, notes
        self._impressions = base_url + EVENTS_PATH + IMPRESSION
        self._views = base_url + EVENTS_PATH + VIEWABLE
        self._clicks = base_url + CLICK_PATH + CLICK
        self._link = _link(self._clicks)[: -len(_LINK_END)]
        self._now, self._random, self._strict = now, random_bytes, strict
        self._days: dict[str, tuple[int, int]] = {}  # zone → (quarter of an hour, days ahead of UTC)
        self._kept: _Kept | None = None

    def record(
        self, scene: Scene, visit: Visit, choice: Choice, *, strict: bool = False
    ) -> tuple[Filled, ...]:
        """Return what fills the placements with the addresses of its events."""
        at_ms = int(self._now().timestamp() * 1000)
        section = scene.context.section or OTHER
        places = self._places(scene, visit, section, choice)
        random, day, until = self._random(RANDOM_BYTES), at_ms // DAY_MS, hold_until(at_ms)
        stamped: list[Filled] = []
        counted: list[Event] = []
        write = self._tickets.write
        strict = strict or self._strict
        for slot, place in enumerate(places):
            ahead = 0 if place.timezone == "UTC" else self._ahead(place.timezone, at_ms)
            if place.held:
                self._budgets.show(place.ticket.campaign, day + ahead, until, place.held)
            if strict:
                view = self._tickets.sealer.view(day, random)
                counted.append(event_of("impression", Moment(at_ms, ahead), place.ticket, view, slot, False))
            else:
                stamped.append(self._stamped(place, write(at_ms, ahead, place.packed, random, slot)))
        if not visit.ivt:
            asked, filled = min(choice.asked, SLOTS), min(len(places), SLOTS)
            self._notes.note(Asked(day, visit.publisher, section, asked, filled), counted)
        return choice.filled if strict else tuple(stamped)

    def _places(self, scene: Scene, visit: Visit, section: str, choice: Choice) -> tuple[_Place, ...]:
        """Return what the placements are recorded with; made once for one choice."""
        snapshot, kept = scene.view.snapshot, self._kept
        if kept is None or kept.snapshot is not snapshot:
            kept = self._kept = _Kept(snapshot, Bounded(PLANS))
        key = (id(choice), section, visit.ivt)
        found = kept.plans.get(key)
        if found is None:
            found = (
                choice,
                tuple(
                    self._place(kept, scene, visit, section, *one)
                    for one in zip(choice.filled, choice.shown, strict=True)
                ),
            )
            if scene.settled.lasting:
                kept.plans.put(key, found)
        return found[1]

    def _place(
        self, kept: _Kept, scene: Scene, visit: Visit, section: str, filled: Filled, shown: Shown
    ) -> _Place:
        snapshot, context = kept.snapshot, scene.context
        entry = snapshot.entry(shown.row)
        condition = None if context.weather is None else context.weather.condition
        message, propensity, weight, nearness = _drawn(shown)
        ticket = Ticket(
            context.publisher,
            section,
            str(context.page.topics[0].id) if context.page.topics else "",
            entry.id,
            snapshot.creative_id(shown.row),
            DEVICE_CLASSES.index(context.device.cls),
            PARTS_OF_DAY.index(context.clock.part),
            WEATHERS.index(condition or ""),
            visit.ivt,
            KINDS.index(entry.terms.kind),
            shown.price_micros,
            message,
            propensity,
            weight,
            RUNGS.index(context.rung),
            bool(context.page.special) or not (context.page.suitability_known or context.page.topics),
            nearness,
        )
        bounded = entry.terms.bounded and not entry.house and not visit.ivt
        return _Place(
            filled,
            bytes(filled.creative).split(_link(filled.click_url)),
            "UTC" if entry.house else entry.terms.timezone,
            held(entry.terms.kind, shown.price_micros) if bounded else 0,
            ticket,
            self._tickets.packed(ticket),
        )

    def _stamped(self, place: _Place, sealed: str) -> Filled:
        """Return what fills a placement with the addresses of its events; its own link leads through the click's."""
        filled, pixel = place.filled, sealed + PIXEL
        return Filled(
            filled.placement,
            msgspec.Raw((self._link + sealed.encode() + _LINK_END).join(place.parts)),
            self._clicks + sealed,
            filled.score,
            filled.reasons,
            filled.house,
            Events(self._impressions + pixel, self._views + pixel),
            filled.dsa,
            filled.why_url,
            filled.propensity,
            filled.message,
        )

    def _ahead(self, zone: str, at_ms: int) -> int:
        """Return by how many days the billing day is ahead of the UTC day. Zones change at quarters of an hour."""
        quarter = at_ms // QUARTER_MS
        found = self._days.get(zone)
        if found is None or found[0] != quarter:
            moment = datetime.fromtimestamp(at_ms / 1000, UTC)
            found = self._days[zone] = quarter, billing_day(zone, moment) - at_ms // DAY_MS
        return found[1]


def _drawn(shown: Shown) -> tuple[str, int, int, int]:
    """Return what is recorded of a draw: message, propensity in millionths, what its events weigh, and nearness."""
    if shown.chosen is None:
        return "", round(shown.share * MILLION), 0, 0
    weight = shown.chosen.weight
    milli = 0 if weight is None else max(1, min(MOST_WEIGHT, round(weight * 1000)))
    near = round(max(-1.0, min(1.0, shown.chosen.nearness)) * NEARNESS)
    return shown.chosen.parts, round(shown.share * shown.chosen.propensity * MILLION), milli, near


def _link(url: str) -> bytes:
    """Return a link as engine.assemble writes it, within JSON. A URL that is kept or made here has no quotes."""
    return b'href=\\"' + html.escape(url).encode() + _LINK_END


def prices(
    snapshot: Snapshot,
    publisher: str,
    placements: Sequence[Placement],
    ranked: Sequence[Sequence[Iterable[Ranked]]],
    chosen: Sequence[Sequence[Ranked]],
) -> Iterator[Shown]:
    """Yield what was chosen for the placements, in their order, with what it costs (`engine.pricing`).

    `ranked` are each placement's candidates, and those that were looked for behind them.
    """
    taken: set[int] = set()
    for placement, lists, picks in zip(placements, ranked, chosen, strict=True):
        floor = max(placement.floor_micros, snapshot.publishers[publisher].floor_micros)
        for pick in picks:
            taken.add(pick.row)
            entry, price = snapshot.entry(pick.row), 0
            if placement.auction:
                price = entry.terms.event_price
            elif not entry.house:
                rivals = (one.rival(pick.row, taken) for one in lists if isinstance(one, Shortlist))
                rival = next((value for value in rivals if value is not None), None)
                price = event_price(entry.terms, int(snapshot.bid[pick.row]), pick.fit, floor, rival)
            yield Shown(pick.row, price)
