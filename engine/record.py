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
from engine.cache import Bounded
from engine.decision import Events, Filled, Placement, Ranked
from engine.events import KINDS, Asked, Event
from engine.pricing import billing_day, event_price, held
from engine.rank import Shortlist
from engine.sections import section_of
from engine.snapshot import Snapshot
from engine.tickets import DAY_MS, LETTERS, WEATHERS, Moment, Ticket, Tickets, event_of, hold_until
from privacy.event_token import RANDOM_BYTES
from privacy.visit import DEVICE_CLASSES

if TYPE_CHECKING:
    from engine.decide import Scene
    from privacy.visit import Visit

IMPRESSION, VIEWABLE, CLICK = LETTERS["impression"], LETTERS["viewable"], LETTERS["click"]
EVENTS_PATH = "/v1/events/"
CLICK_PATH = "/v1/click/"
PIXEL = ".gif"
QUARTER_MS = 900_000
PLANS = 16_384
_LINK_END = b'\\"'


class Ledger(Protocol):
    """Where it is added up what campaigns show."""

    def show(self, campaign: str, day: int, until: int, micros: int) -> None:
        """Note that a placement was given to a campaign with a budget."""


class Notes(Protocol):
    """Where it is noted what decisions were asked."""

    def note(self, asked: Asked, events: Sequence[Event] = ()) -> None:
        """Keep it soon, or drop it."""


class _Place(NamedTuple):
    """What one placement is recorded with, whenever it is shown."""

    filled: Filled
    parts: list[bytes]  # the creative's JSON without its own link
    timezone: str
    held: int  # of a budget; 0 where there is none
    ticket: Ticket
    packed: bytes


class _Plan(NamedTuple):
    """What a decision is recorded with that may be made again; `of` keeps alive what it is known by."""

    places: tuple[_Place, ...]
    asked: int
    of: tuple[object, ...]


class _Kept(NamedTuple):
    """What was worked out over one snapshot."""

    snapshot: Snapshot
    plans: Bounded[tuple[object, ...], _Plan]


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
        self,
        scene: Scene,
        visit: Visit,
        placements: Sequence[Placement],
        ranked: Sequence[Iterable[Ranked]],
        chosen: Sequence[Sequence[Ranked]],
        filled: tuple[Filled, ...],
    ) -> tuple[Filled, ...]:
        """Return what fills the placements with the addresses of its events."""
        at_ms = int(self._now().timestamp() * 1000)
        publisher = scene.view.snapshot.publishers[visit.publisher]
        section = section_of(publisher, visit.page.url)
        plan = self._plan(scene, visit, section, placements, ranked, chosen, filled)
        random, day, until = self._random(RANDOM_BYTES), at_ms // DAY_MS, hold_until(at_ms)
        stamped: list[Filled] = []
        counted: list[Event] = []
        write = self._tickets.write
        for slot, place in enumerate(plan.places):
            ahead = 0 if place.timezone == "UTC" else self._ahead(place.timezone, at_ms)
            if place.held:
                self._budgets.show(place.ticket.campaign, day + ahead, until, place.held)
            if self._strict:
                moment = Moment(at_ms, ahead)
                view = self._tickets.sealer.view(day, random)
                counted.append(event_of("impression", moment, place.ticket, view, slot, False))
            else:
                stamped.append(self._stamped(place, write(at_ms, ahead, place.packed, random, slot)))
        if not visit.ivt:
            self._notes.note(Asked(day, visit.publisher, section, plan.asked, len(plan.places)), counted)
        return filled if self._strict else tuple(stamped)

    def _plan(
        self,
        scene: Scene,
        visit: Visit,
        section: str,
        placements: Sequence[Placement],
        ranked: Sequence[Iterable[Ranked]],
        chosen: Sequence[Sequence[Ranked]],
        filled: Sequence[Filled],
    ) -> _Plan:
        """Return what this decision is recorded with: made once for the same lists, of which the same was chosen."""
        snapshot, kept = scene.view.snapshot, self._kept
        if kept is None or kept.snapshot is not snapshot:
            kept = self._kept = _Kept(snapshot, Bounded(PLANS))
        key = (*map(id, filled), *map(id, ranked), section, visit.ivt)
        plan = kept.plans.get(key)
        if plan is None:
            places = tuple(self._places(scene, visit, section, placements, ranked, chosen, filled))
            plan = _Plan(places, sum(placement.count for placement in placements), (*filled, *ranked))
            kept.plans.put(key, plan)
        return plan

    def _places(
        self,
        scene: Scene,
        visit: Visit,
        section: str,
        placements: Sequence[Placement],
        ranked: Sequence[Iterable[Ranked]],
        chosen: Sequence[Sequence[Ranked]],
        filled: Sequence[Filled],
    ) -> Iterator[_Place]:
        snapshot, context = scene.view.snapshot, scene.context
        publisher = snapshot.publishers[context.publisher]
        condition = None if context.weather is None else context.weather.condition
        taken: set[int] = set()
        answered = iter(filled)
        for placement, shortlist, picks in zip(placements, ranked, chosen, strict=True):
            floor = max(placement.floor_micros, publisher.floor_micros)
            for pick in picks:
                taken.add(pick.row)
                one, entry = next(answered), snapshot.entry(pick.row)
                terms, price = entry.terms, 0
                if not entry.house:
                    rival = shortlist.rival(pick.row, taken) if isinstance(shortlist, Shortlist) else None
                    price = event_price(terms, int(snapshot.bid[pick.row]), pick.match, floor, rival)
                ticket = Ticket(
                    context.publisher,
                    section,
                    str(context.page.topics[0].id) if context.page.topics else "",
                    entry.id,
                    snapshot.creative_id(pick.row),
                    DEVICE_CLASSES.index(context.device.cls),
                    PARTS_OF_DAY.index(context.clock.part),
                    WEATHERS.index(condition or ""),
                    visit.ivt,
                    KINDS.index(terms.kind),
                    price,
                )
                bounded = terms.bounded and not entry.house and not visit.ivt
                yield _Place(
                    one,
                    bytes(one.creative).split(_link(one.click_url)),
                    "UTC" if entry.house else terms.timezone,
                    held(terms.kind, price) if bounded else 0,
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
        )

    def _ahead(self, zone: str, at_ms: int) -> int:
        """Return by how many days the billing day is ahead of the UTC day. Zones change at quarters of an hour."""
        quarter = at_ms // QUARTER_MS
        found = self._days.get(zone)
        if found is None or found[0] != quarter:
            moment = datetime.fromtimestamp(at_ms / 1000, UTC)
            found = self._days[zone] = quarter, billing_day(zone, moment) - at_ms // DAY_MS
        return found[1]


def _link(url: str) -> bytes:
    """Return a link as engine.assemble writes it, within JSON. A URL that is kept or made here has no quotes."""
    return b'href=\\"' + html.escape(url).encode() + _LINK_END
