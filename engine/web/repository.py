"""/v1/repository and /repository: every advertisement that runs here, or ran by the released tables, for everybody.

In the manner of Article 39 of the Digital Services Act: what is said, on whose behalf, who paid, when, by which
parameters, and how often it was shown. That number is a sum of released noisy counts, never a count; below the floor
none is told. Nothing here is of a reader. What is over or deleted stays listed for a year.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from heapq import merge
from itertools import islice
from typing import Protocol

import msgspec
from flask import Response
from jinja2 import Environment, PackageLoader
from msgspec import Struct

from contexts.context import TopicId
from contexts.extract import read_html
from contexts.taxonomy import Taxonomy
from engine.campaign import Advertiser, Campaign, PoliticalNotice, Prefer, Rule, Targeting
from engine.change import LISTED, Withdrawn
from engine.creative import Creative
from engine.errors import QueryRefused
from engine.keys import Caller
from engine.manage import ManageStore
from engine.message import words_of
from engine.offers import prices_of
from engine.report import Value
from engine.reporting import Reporting
from engine.web.api import Api
from engine.web.catalogue import ID, asked_page
from engine.web.report_pages import HEADERS
from engine.web.reports import NoisyNumber, Period
from privacy.release import day_of
from privacy.workload import UNIT, table

QUERY = {
    "after": {"type": "string", "pattern": ID, "description": "the last creative of the page before"},
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
}
LEAST_READ, MOST_READ = 100, 10_000  # creatives at once, and for one page, whether they are listed or not
MEASURE = "creatives"  # the table whose counts are told
_EVERYTHING = Caller("operator", None, "repository")
_NO_RULES = Targeting()
_POLICY = ("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'")


class ListedPicture(Struct, frozen=True):
    """A picture of an advertisement: its name below /images/, its size in pixels and its alternative text."""

    name: str
    w: int
    h: int
    alt: str


class ListedNotice(Struct, frozen=True):
    """What is said of a political advertisement (Regulation (EU) 2024/900, articles 11 and 12)."""

    sponsor: str
    controlled_by: str
    amount: str
    process: str
    notice_url: str


class ListedAd(Struct, frozen=True):
    """An advertisement, without anything of who saw it. `views` is null where it is below the floor."""

    creative: str
    campaign: str
    behalf: str
    paid: str
    format: str
    says: str
    parts: tuple[str, ...]  # other lines that may stand in it, and what its other pictures show
    picture: ListedPicture | None
    landing_url: str
    starts: str | None
    ends: str | None
    parameters: tuple[str, ...]
    views: NoisyNumber | None
    political: ListedNotice | None
    deleted: str | None  # when it was taken out of the catalogue


class AdRepository(Struct, frozen=True):
    """A page of the repository, by creative; `next` is what to ask `after` for the next one."""

    items: tuple[ListedAd, ...]
    next: str | None
    views_of: Period | None
    unit: str


class RepositoryStore(ManageStore, Protocol):
    """What is listed."""

    def withdrawn(self, after: str, limit: int, now: datetime) -> list[Withdrawn]:
        """Return up to `limit` creatives deleted within the year with ids above `after`, by id; none that are back."""


class Repository:
    """Lists advertisements."""

    def __init__(
        self, store: RepositoryStore, reporting: Reporting, taxonomy: Taxonomy, now: Callable[[], datetime]
    ) -> None:
        self._store, self._reporting, self._taxonomy, self._now = store, reporting, taxonomy, now
        self._counted: tuple[int, Period | None, Mapping[str, Value]] = (-1, None, {})
        self._lock = threading.Lock()

    def page(self, after: str, limit: int) -> AdRepository:
        """Return up to `limit` advertisements with ids above `after`; fewer where many creatives are not listed."""
        period, views = self._views()
        found: list[ListedAd] = []
        last: str | None = after
        step, looked_at = max(limit, LEAST_READ), 0
        while last is not None and len(found) < limit and looked_at < MOST_READ:
            looked_at += step
            batch = [one for one in self._store.page("creative", last, step) if isinstance(one, Creative)]
            gone = self._store.withdrawn(last, step, self._now())
            both = ([one.id for one in batch], [one.creative.id for one in gone])
            last = min(
                (ids[-1] for ids in both if len(ids) == step), default=None
            )  # beyond, some may be missing
            batch = [one for one in batch if last is None or one.id <= last]
            gone = [one for one in gone if last is None or one.creative.id <= last]
            listed = merge(self._listed(batch, views), self._gone(gone, views), key=lambda ad: ad.creative)
            found += islice(listed, limit + 1 - len(found))
        if len(found) > limit:
            found = found[:limit]
            last = found[-1].creative
        return AdRepository(tuple(found), last, period, UNIT)

    def _listed(self, batch: list[Creative], views: Mapping[str, Value]) -> Iterator[ListedAd]:
        campaigns = self._store.find("campaign", sorted({one.campaign for one in batch}))
        owners = {one.advertiser for one in campaigns.values() if isinstance(one, Campaign)}
        advertisers = self._store.find("advertiser", sorted(owners))
        for creative in batch:
            campaign = campaigns.get(creative.campaign)
            if not isinstance(campaign, Campaign) or campaign.house:
                continue
            advertiser = advertisers.get(campaign.advertiser)
            seen = views.get(creative.id)
            if isinstance(advertiser, Advertiser) and (
                seen is not None or self._ran(creative, campaign, self._now())
            ):
                yield self._ad(creative, campaign, advertiser, seen)

    def _gone(self, batch: list[Withdrawn], views: Mapping[str, Value]) -> Iterator[ListedAd]:
        for at, creative, campaign, advertiser in batch:
            seen = views.get(creative.id)
            if not campaign.house and (seen is not None or self._ran(creative, campaign, at)):
                yield self._ad(creative, campaign, advertiser, seen, at)

    def _ran(self, creative: Creative, campaign: Campaign, at: datetime) -> bool:
        """Say whether it runs at a moment or did within the year: what is only being prepared is nobody's matter."""
        start, end = campaign.flight.start, campaign.flight.end
        on = creative.status == campaign.status == "active"
        return on and (start is None or start <= at) and (end is None or self._now() < end + LISTED)

    def _ad(
        self,
        creative: Creative,
        campaign: Campaign,
        advertiser: Advertiser,
        seen: Value | None,
        deleted: datetime | None = None,
    ) -> ListedAd:
        image, flight = creative.image, campaign.flight
        picture = None
        if image is not None and (name := image.name):
            picture = ListedPicture(name, image.w or 0, image.h or 0, image.alt)
        prices = prices_of(creative)
        own = prices.get("")
        said = [creative.headline, creative.body, creative.cta]
        said += [read_html(creative.html).text] if creative.html else []
        return ListedAd(
            creative=creative.id,
            campaign=campaign.id,
            behalf=advertiser.name,
            paid=campaign.paid_by or advertiser.name,
            format=creative.format,
            says=" · ".join(filter(None, said)),
            parts=tuple(
                dict.fromkeys(words_of(part, prices.get(part.id, own)) for part in creative.parts or ())
            ),
            picture=picture,
            landing_url=creative.landing_url,
            starts=None if flight.start is None else flight.start.isoformat(),
            ends=None if flight.end is None else flight.end.isoformat(),
            parameters=tuple(
                dict.fromkeys(
                    [
                        *_rules(campaign.targeting, self._taxonomy),
                        *_rules(creative.targeting, self._taxonomy),
                        *_wishes(creative.prefer or campaign.prefer),
                    ]
                )
            ),
            views=None if seen is None else NoisyNumber(*seen),
            political=_notice(campaign.political_notice),
            deleted=None if deleted is None else deleted.isoformat(),
        )

    def _views(self) -> tuple[Period | None, Mapping[str, Value]]:
        """Return the sums of all released days, by creative: worked out once for each day that closes."""
        closed = self._reporting.closed()
        with self._lock:
            if self._counted[0] != closed:
                self._counted = (closed, *self._sums(closed))
            return self._counted[1:]

    def _sums(self, closed: int) -> tuple[Period | None, Mapping[str, Value]]:
        days = self._reporting.released.days(table(MEASURE), closed)
        if not days:
            return None, {}
        try:
            told = self._reporting.ask(_EVERYTHING, "creatives", days[0], days[-1], ["creative"], {})
        except QueryRefused:  # a day of them cannot be read: then none is told
            return None, {}
        period = Period(day_of(days[0]).isoformat(), day_of(days[-1]).isoformat(), "UTC")
        return period, {row.key[0]: row.values[0] for row in told.rows if row.key[0] is not None}


def add_repository(api: Api, repository: Repository, root: str) -> None:
    """Add the routes. `root` is the path under which the service is reached."""
    pages = Environment(loader=PackageLoader("engine", "web/templates/repository"), autoescape=True)

    @api.route("/v1/repository", "GET", answer=AdRepository, problems=(422,), query=QUERY)
    def list_repository() -> AdRepository:
        """List the advertisements, with who paid, by which parameters, and how often each was shown."""
        return repository.page(*asked_page())

    @api.route("/repository", "GET", answer=str, answer_media="text/html", problems=(422,), query=QUERY)
    def repository_page() -> Response:
        """Open the repository of advertisements."""
        text = pages.get_template("repository.html").render(root=root, told=repository.page(*asked_page()))
        headers = [header for header in HEADERS if header[0] != _POLICY[0]]
        return Response(text, 200, [*headers, _POLICY], content_type="text/html; charset=utf-8")


def _notice(told: PoliticalNotice | None) -> ListedNotice | None:
    if told is None:
        return None
    return ListedNotice(told.sponsor, told.controlled_by, told.amount, told.process, told.notice_url)


def _rules(targeting: Targeting, taxonomy: Taxonomy) -> Iterator[str]:
    """Yield hard rules in words, and what is no list of words as it was written."""
    for one in msgspec.structs.fields(Targeting):
        value, told = getattr(targeting, one.name), one.name.replace("_", " ")
        if isinstance(value, Rule):
            called = partial(_topic, taxonomy) if one.name == "topics" else str
            if value.include:
                yield f"only {told}: {_list(map(called, value.include))}"
            if value.exclude:
                yield f"not {told}: {_list(map(called, value.exclude))}"
        elif value != getattr(_NO_RULES, one.name):
            yield f"{told}: {msgspec.json.encode(value).decode()}"


def _topic(taxonomy: Taxonomy, id: str) -> str:
    return taxonomy.name(TopicId(id)) if id in taxonomy else id


def _wishes(prefer: Prefer) -> Iterator[str]:
    """Yield soft preferences in words."""
    for name in ("devices", "times", "weather"):
        if values := getattr(prefer, name):
            yield f"rather {name}: {_list(values)}"


def _list(words: Iterable[str]) -> str:
    named = list(words)
    return ", ".join(named[:20]) + (f" and {len(named) - 20} more" if len(named) > 20 else "")
