"""What is recorded of a decision: each placement gets the tokens of its events, its price, and a hold on a budget.

Nothing here reads or writes a store: tokens carry what their events will need, and prices are added up for the
process's next tick. In the strict profile no address of an answer says anything of the page view: impressions are
counted here, and clicks are not.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from contexts.context import PARTS_OF_DAY
from engine.decision import Events, Filled, Placement, Ranked
from engine.events import KINDS, Asked, Event
from engine.pricing import Terms, billing_day, event_price, held
from engine.rank import Shortlist
from engine.sections import section_of
from engine.snapshot import CampaignEntry, Snapshot
from engine.tickets import DAY_MS, LETTERS, WEATHERS, Read, Ticket, Tickets, hold_until
from privacy.event_token import RANDOM_BYTES, Opened
from privacy.visit import DEVICE_CLASSES

if TYPE_CHECKING:
    from engine.decide import Scene
    from privacy.visit import Visit

DEVICE_OF = {name: at for at, name in enumerate(DEVICE_CLASSES)}
PART_OF = {name: at for at, name in enumerate(PARTS_OF_DAY)}
WEATHER_OF = {name: at for at, name in enumerate(WEATHERS)}
KIND_AT = {kind: at for at, kind in enumerate(KINDS)}
IMPRESSION, VIEWABLE, CLICK = LETTERS["impression"], LETTERS["viewable"], LETTERS["click"]
EVENTS_PATH = "/v1/events/"
CLICK_PATH = "/v1/click/"
PIXEL = ".gif"
QUARTER_MS = 900_000


class Ledger(Protocol):
    """Where it is added up what campaigns show."""

    def show(self, campaign: str, day: int, until: int, micros: int) -> None:
        """Note that a placement was given to a campaign with a budget."""


class Notes(Protocol):
    """Where it is noted what decisions were asked."""

    def note(self, asked: Asked, events: Sequence[Event] = ()) -> None:
        """Keep it soon, or drop it."""


class _Shown(NamedTuple):
    """What recording needs of a creative."""

    id: str
    entry: CampaignEntry
    value: int
    link: bytes  # its own link as it stands in its JSON


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
        self._events, self._clicks = base_url + EVENTS_PATH, base_url + CLICK_PATH
        self._now, self._random, self._strict = now, random_bytes, strict
        self._days: dict[str, tuple[int, int]] = {}  # zone → (quarter of an hour, days ahead of UTC)
        self._known: tuple[Snapshot | None, dict[int, _Shown]] = None, {}

    def record(
        self,
        scene: Scene,
        visit: Visit,
        placements: Sequence[Placement],
        ranked: Sequence[Iterable[Ranked]],
        chosen: Sequence[Sequence[Ranked]],
        filled: Sequence[Filled],
    ) -> tuple[Filled, ...]:
        """Return what fills the placements with the addresses of its events."""
        view, context = scene.view, scene.context
        snapshot, publisher = view.snapshot, view.snapshot.publishers[context.publisher]
        at_ms = int(self._now().timestamp() * 1000)
        random, until = self._random(RANDOM_BYTES), hold_until(at_ms)
        section = section_of(publisher, visit.page.url)
        topic = str(context.page.topics[0].id) if context.page.topics else ""
        device, part = DEVICE_OF[context.device.cls], PART_OF[context.clock.part]
        condition = None if context.weather is None else context.weather.condition
        weather = WEATHER_OF[condition or ""]
        known = self._known_of(snapshot)
        taken: set[int] = set()
        stamped: list[Filled] = []
        counted: list[Event] = []
        for placement, shortlist, picks in zip(placements, ranked, chosen, strict=True):
            floor = max(placement.floor_micros, publisher.floor_micros)
            for pick in picks:
                taken.add(pick.row)
                slot, one = len(stamped), filled[len(stamped)]
                shown = known.get(pick.row)
                if shown is None:
                    shown = known[pick.row] = _shown(snapshot, pick.row)
                entry = shown.entry
                terms, price, ahead = entry.terms, 0, 0
                if not entry.house:
                    rival = shortlist.rival(pick.row, taken) if isinstance(shortlist, Shortlist) else None
                    price = event_price(terms, shown.value, pick.match, floor, rival)
                    ahead = self._ahead(terms, at_ms)
                    if terms.bounded and not visit.ivt:
                        day = at_ms // DAY_MS + ahead
                        self._budgets.show(entry.id, day, until, held(terms.kind, price))
                ticket = Ticket(
                    at_ms,
                    ahead,
                    context.publisher,
                    section,
                    topic,
                    entry.id,
                    shown.id,
                    device,
                    part,
                    weather,
                    visit.ivt,
                    KIND_AT[terms.kind],
                    price,
                )
                if self._strict:
                    stamped.append(one)
                    sealed = Opened(b"", self._tickets.sealer.view(ticket.day, random), slot, b"")
                    counted.append(Read("impression", ticket, sealed).event(False))
                else:
                    stamped.append(self._stamped(one, shown.link, self._tickets.write(ticket, random, slot)))
        if not visit.ivt:
            asked = sum(placement.count for placement in placements)
            self._notes.note(Asked(at_ms // DAY_MS, context.publisher, section, asked, len(stamped)), counted)
        return tuple(stamped)

    def _stamped(self, filled: Filled, link: bytes, sealed: str) -> Filled:
        """Return what fills a placement with the addresses of its events; its own link leads through the click's."""
        click = self._clicks + CLICK + sealed
        return Filled(
            filled.placement,
            msgspec.Raw(bytes(filled.creative).replace(link, b'href=\\"' + click.encode() + b'\\"')),
            click,
            filled.score,
            filled.reasons,
            filled.house,
            Events(self._events + IMPRESSION + sealed + PIXEL, self._events + VIEWABLE + sealed + PIXEL),
        )

    def _known_of(self, snapshot: Snapshot) -> dict[int, _Shown]:
        """Return what was found out of this snapshot's creatives."""
        at, known = self._known
        if at is not snapshot:
            known = {}
            self._known = snapshot, known
        return known

    def _ahead(self, terms: Terms, at_ms: int) -> int:
        """Return by how many days the billing day is ahead of the UTC day. Zones change at quarters of an hour."""
        zone = terms.timezone
        if zone == "UTC":
            return 0
        quarter = at_ms // QUARTER_MS
        found = self._days.get(zone)
        if found is None or found[0] != quarter:
            moment = datetime.fromtimestamp(at_ms / 1000, UTC)
            found = self._days[zone] = quarter, billing_day(zone, moment) - at_ms // DAY_MS
        return found[1]


def _shown(snapshot: Snapshot, row: int) -> _Shown:
    # The link as engine.assemble writes it, within JSON.
    link = msgspec.json.encode(f'href="{html.escape(snapshot.record(row).click_url)}"')[1:-1]
    return _Shown(snapshot.creative_id(row), snapshot.entry(row), int(snapshot.bid[row]), link)
