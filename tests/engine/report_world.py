"""A catalogue with sections and campaigns, and days of page views whose every event is known."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from contexts.rungs import RUNGS
from engine.campaign import Section
from engine.change import Change
from engine.creative import Image, ImagePart, OfferPart, Parts, TextPart
from engine.events import CONVERSION_SLOT, VOTE_SLOT, VOTES, Asked, Row
from engine.images import HostedImage
from engine.report_keys import topics
from engine.tally import Counts
from privacy.release import day_number
from privacy.workload import MOST_PRICE, MOST_WEIGHT, NEARNESS, SLOTS, WHOLE, Table
from tests.world import World, advertiser, campaign, creative, publisher

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
TODAY = day_number(NOW.date())
DAY = TODAY - 1
DEVICES = ("phone", "tablet", "desktop")
TOPICS = ("483", "484", "286", "302", "")  # Sports, one below it, two of health, none


class ReportWorld(World):
    """Two publishers, two advertisers, five creatives; everything was registered 30 days ago."""

    def __init__(self, folder: Path, now: datetime = NOW):
        super().__init__(folder, datetime(2026, 10, 1, tzinfo=UTC))
        sections = (Section(id="sport", prefix="/sport"), Section(id="news", prefix="/news"))
        self.put(publisher("planet", sections=sections), publisher("globe"))
        self.put(advertiser("acme"), advertiser("rival"))
        self.put(campaign("spring"), campaign("winter"), campaign("rivalry", "rival"))
        self.put(*(creative(f"{c}-{i}", c) for c in ("spring", "winter") for i in (1, 2)))
        self.put(creative("rivalry-1", "rivalry"))
        self.put_parts()
        self.now = now

    def put_parts(self) -> None:
        """Give one creative parts."""
        picture = HostedImage("0" * 64, "image/png", 4, 2, b"png")
        before = self.store.find("creative", ["winter-2"])["winter-2"]
        after = creative("winter-2", "winter", parts=PARTS)
        change = Change(before, after)
        self.store.write([change], [picture], self.store.versions(), "test", self.now)

    def add(self, rows: Iterable[Row], decided: Iterable[Asked] = ()) -> None:
        """Insert events as they are, and what their decisions were asked."""
        marks = ", ".join("?" * len(Row._fields))
        with self.store.writing() as db:
            db.executemany(f"INSERT INTO events ({', '.join(Row._fields)}) VALUES ({marks})", rows)
        self.store.events().keep([], decided)


PARTS = Parts(
    headlines=(TextPart("h1", "One"), TextPart("h2", "Two")),
    bodies=(TextPart("b1", "Body"),),
    ctas=(TextPart("c1", "Go"),),
    images=(ImagePart("i1", Image(alt="A bowl", hash="0" * 64, ext="png", w=4, h=2)),),
    offers=(OfferPart("o1", "Less"),),
)
_REST = "body/b1 image/i1 cta/c1 offer/o1"
MESSAGES = (f"headline/h1 {_REST}", f"headline/h2 {_REST}", "")
CREATIVES = ("spring-1", "spring-2", "winter-1", "winter-2", "rivalry-1")


def views(count: int, day: int = DAY, seed: int = 1, *, unruly: bool = False) -> Iterator[Row]:
    """Draw page views; unruly ones show too much, click too often, cost too much and are made by machines."""
    draw = random.Random(seed * 1_000_003 + day)
    for _ in range(count):
        view, publisher = draw.randbytes(16), draw.choice(("planet", "globe"))
        section = draw.choice(("sport", "news", "other")) if publisher == "planet" else "other"
        about = (
            draw.choice(DEVICES),
            draw.choice(("morning", "evening")),
            draw.choice(("rain", "clear", "")),
        )
        topic = draw.choice((*TOPICS, "no topic") if unruly else TOPICS)
        ivt = draw.choice((0, 0, 0, 1)) if unruly else 0
        for slot in draw.sample(range(6), 4) if unruly else range(draw.randint(1, 3)):
            shown = draw.choice(CREATIVES)
            price = draw.choice((-5, 900, MOST_PRICE // 2)) if unruly else 1000
            which = (day, publisher, section, topic, shown.rpartition("-")[0], shown, *about)
            rung = RUNGS[view[1] % len(RUNGS)]
            drew = ("", 1_000_000, 0, 0, rung)
            if shown == "winter-2":
                near = draw.choice((-3, 0, 12, 40) if unruly else (-3, 0, 12))
                drew = (draw.choice(MESSAGES), 250_000, draw.choice((0, 400, 9000)), near, rung)
            yield Row(view, slot, "impression", *which, ivt, price, *drew)
            if unruly and draw.random() < 0.5:
                yield Row(view, slot, "viewable", *which, ivt, draw.choice((0, 700)), *drew)
            if draw.random() < (0.4 if unruly else 0.02):
                yield Row(view, slot, "click", *which, ivt or draw.choice((0, 2)) if unruly else 0, 0, *drew)
        for vote in draw.sample(VOTES, draw.choice((0, 0, 1, 2))) if unruly else ():
            yield Row(view, VOTE_SLOT, vote, *which, ivt, 0)
        if unruly and view[0] < 64:
            yield Row(view[::-1], CONVERSION_SLOT, "conversion", *which, ivt, 0)


def decisions(rows: Iterable[Row]) -> Iterator[Asked]:
    """Say what each view was asked, as a decision tells of it: some asked for more than was there."""
    shown: dict[bytes, set[int]] = {}
    last: dict[bytes, Row] = {}
    for row in rows:
        if row.kind == "impression" and not row.ivt:
            shown.setdefault(row.view, set()).add(row.slot)
            last[row.view] = row
    for view, slots in shown.items():
        filled, row = max(slots) + 1, last[view]  # those before are filled, too, and were not seen
        asked = filled + view[0] % 4
        yield Asked(row.day, row.publisher, row.section, min(asked, SLOTS), min(filled, SLOTS))


def truth(rows: Sequence[Row], day: int, tables: Sequence[Table], decided: Iterable[Asked] = ()) -> Counts:
    """Count slowly and obviously: view by view, what of it may be counted."""
    told: dict[str, Counter[tuple[str, ...]]] = {table.name: Counter() for table in tables}
    by_view: dict[bytes, list[Row]] = {}
    for row in rows:
        if row.day == day and row.ivt != 1:
            by_view.setdefault(row.view, []).append(row)
    for events in by_view.values():
        events.sort(key=lambda row: row.slot)
        impressions = [row for row in events if row.kind == "impression"]
        counted = {
            "impression": [row for row in impressions if row.slot < SLOTS],
            "placement": [row for row in impressions if row.slot < SLOTS],
            "nearness": [row for row in impressions if row.slot < SLOTS],
            "click": [row for row in events if row.kind == "click"][:1],
            "view": impressions[:1],
            "money": events[:1],
            "conversion": [row for row in events if row.kind == "conversion"],
            "vote": sorted((row for row in events if row.kind in VOTES), key=lambda row: row.kind)[:1],
        }
        bill = min(max(sum(row.price_micros for row in events), 0), MOST_PRICE)
        for table in tables:
            for row in counted[table.kind]:
                if "rung" in table.dims and not row.rung:
                    continue
                alone, beside = topics().get(row.topic, ("", ""))
                values = (
                    row._asdict()
                    | {"vote": row.kind, "outcome": "shown"}
                    | {"topic": alone if len(table.dims) == 1 else beside}
                )
                near = max(-NEARNESS, min(NEARNESS, row.nearness))
                each = {"money": bill, "nearness": near}.get(table.kind, 1)
                if "component" in table.dims:
                    for component in ("", *row.message.split()):
                        told[table.name][
                            tuple((values | {"component": component})[d] for d in table.dims)
                        ] += each
                elif "sum" in table.dims:
                    if row.weight_milli > 0:
                        told[table.name][("shown",)] += WHOLE
                        told[table.name][("gain",)] += min(row.weight_milli, MOST_WEIGHT) - WHOLE
                else:
                    told[table.name][tuple(values[dim] for dim in table.dims)] += each
    for one in decided:
        for table in tables:
            if table.kind == "placement" and one.day == day:
                told[table.name][one.publisher, one.section, "unfilled"] += one.asked - one.filled
    return {name: dict(cells) for name, cells in told.items()}
