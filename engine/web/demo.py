"""The demo's pages: a magazine, a box for any text, and beside each placement why it shows what it shows.

Server-rendered; a script only updates the placements in place, through the same POST /v1/decisions that any
page would use. No cookie, no inline script or style, nothing from another host.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from flask import Blueprint, Response, abort, render_template, request, url_for
from werkzeug.datastructures import MultiDict

from contexts.context import CONDITIONS, SENSITIVE, WEEKDAYS
from engine.campaign import Advertiser, Campaign
from engine.decision import Answer, CreativeAnswer, Filled, MessageAnswer, Placement, Reason
from engine.demo.magazine import Article, Entity
from engine.demo.readers import INTERESTS, NOTICE
from privacy.visit import DEVICE_CLASSES

PUBLISHER = "demo"
QUERY_KEYS = ("device", "day", "hour", "weather", "temp", "country")  # what the gate must let through
LONGEST_PASTE = 1_000_000  # characters, as `page.html` takes; the source of a page has some 200,000
MAX_FORM = 10_000_000  # bytes, in which each character that is no letter is three or more

COUNTRIES = {
    "GB": "United Kingdom",
    "IE": "Ireland",
    "DE": "Germany",
    "FR": "France",
    "NL": "Netherlands",
    "SE": "Sweden",
    "US": "United States",
    "JP": "Japan",
    "IN": "India",
    "AU": "Australia",
    "BR": "Brazil",
}
DAYS: dict[str, str] = dict(
    zip(
        WEEKDAYS,
        ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        strict=True,
    )
)
TEMPERATURES_C = (-8, -2, 4, 10, 16, 22, 28, 34)
HOURS = tuple(range(24))
PRESETS = (
    ("A wet, cold Monday evening", {"day": "mon", "hour": "19", "weather": "rain", "temp": "4"}),
    ("A hot Saturday noon", {"day": "sat", "hour": "12", "weather": "clear", "temp": "34"}),
    (
        "A frosty morning, on a phone",
        {"device": "phone", "day": "thu", "hour": "8", "weather": "snow", "temp": "-8"},
    ),
    ("A clear night", {"day": "fri", "hour": "23", "weather": "clear", "temp": "4"}),
)
FACETS = {
    "consent": "Consent",
    "page": "Page",
    "device": "Device",
    "time": "Time",
    "weather": "Weather",
    "house": "House notice",
}
FLAGS = {
    "adult": "adult content",
    "arms": "arms and ammunition",
    "conflict": "death, injury and war",
    "crime": "crime and harm",
    "drugs": "drugs, alcohol, tobacco",
    "hate": "hate speech",
    "obscenity": "obscenity",
    "piracy": "piracy",
    "social_issues": "debated social issues",
    "spam": "spam",
    "terrorism": "terrorism",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """What the controls say. None: as it is (the device that asks, now, the service's weather table)."""

    device: str | None = None
    day: str | None = None
    hour: int | None = None
    condition: str | None = None
    temperature_c: int | None = None
    country: str = "GB"

    @classmethod
    def read(cls, form: MultiDict[str, str]) -> Moment:
        """Take what the form offers; anything else counts as not chosen."""

        def chosen(name: str, offered: Sequence[object]) -> str | None:
            value = form.get(name)
            return value if value in {str(one) for one in offered} else None

        hour, temperature = chosen("hour", HOURS), chosen("temp", TEMPERATURES_C)
        return cls(
            device=chosen("device", DEVICE_CLASSES),
            day=chosen("day", WEEKDAYS),
            hour=None if hour is None else int(hour),
            condition=chosen("weather", CONDITIONS),
            temperature_c=None if temperature is None else int(temperature),
            country=chosen("country", tuple(COUNTRIES)) or "GB",
        )

    @property
    def query(self) -> dict[str, str]:
        """Return the parameters that say the same again."""
        values = {
            "device": self.device,
            "day": self.day,
            "hour": self.hour,
            "weather": self.condition,
            "temp": self.temperature_c,
            "country": None if self.country == "GB" else self.country,
        }
        return {name: str(value) for name, value in values.items() if value is not None}

    def at(self, now: datetime) -> datetime | None:
        """Return the next such day at such an hour, in the zone of `now`; None where neither was chosen."""
        if self.day is None and self.hour is None:
            return None
        ahead = 0 if self.day is None else (WEEKDAYS.index(self.day) - now.weekday()) % 7
        hour = now.hour if self.hour is None else self.hour
        return (now + timedelta(days=ahead)).replace(hour=hour, minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class DemoRequest:
    """A page view of the demo: what its page says of itself and of the moment. Explanations are wanted."""

    placements: tuple[Placement, ...]
    url: str | None = None
    title: str | None = None
    description: str | None = None
    text: str | None = None
    html: str | None = None
    device: str | None = None  # None: as the gate read it from the headers
    at: datetime | None = None  # None: now
    country: str | None = None
    condition: str | None = None  # with no temperature either: from the service's weather table
    temperature_c: float | None = None


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the magazine's server hands a reader who agreed: the tokens, which the page keeps in its tab."""

    token: str
    rights_token: str
    record_id: str
    expires: str  # of the consent


@dataclass(frozen=True, slots=True)
class Share:
    """One facet's part of a score, as it is drawn: on a bar of 100 units, from `x`, `width` wide."""

    facet: str
    label: str
    percent: int
    because: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Ad:
    """One creative in its place."""

    creative: CreativeAnswer
    click_url: str
    score: float
    house: bool
    shares: tuple[Share, ...]
    message: MessageAnswer | None = None  # where it was put together
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """The campaigns that do not run beside one kind of sensitive page, by their advertisers' names."""

    flag: str
    label: str
    names: tuple[str, ...]
    campaigns: int
    of: int


def create_blueprint(
    decide: Callable[[DemoRequest], Answer],
    articles: Sequence[Article],
    catalog: Sequence[Entity],
    now: Callable[[], datetime],
    device: Callable[[], str],
    agree: Callable[[], Agreed | None] = lambda: None,
    service_url: str = "",
) -> Blueprint:
    """Make the demo's pages.

    Pictures of creatives are at `service_url`, which a reader may have come to by another name.
    `decide` chooses, with explanations. `now` is the time in the publisher's zone. `device` says the class of
    the device that asks, as the gate read it. `agree` records that a reader agreed to NOTICE; None where consents
    are off. The gate must let QUERY_KEYS through.
    """
    root = Path(__file__).parent
    pages = Blueprint(
        "demo",
        __name__,
        static_folder=str(root / "static" / "demo"),
        static_url_path="/demo/static",
        template_folder=str(root / "templates"),
    )
    pictures = "'self'" + (f" {service_url}/images/" if service_url else "")
    by_id = {article.id: article for article in articles}
    shunned = _shunned(catalog)

    def render(template: str, moment: Moment, **values: object) -> str:
        """Render a page with the controls as they were chosen."""
        offered = {
            "devices": DEVICE_CLASSES,
            "days": {"": "Today", **DAYS},
            "hours": HOURS,
            "conditions": CONDITIONS,
            "temperatures": TEMPERATURES_C,
            "countries": COUNTRIES,
            "presets": PRESETS,
            "interests": INTERESTS,
            "notice": NOTICE,
            "publisher": PUBLISHER,
        }
        return render_template(
            f"demo/{template}.html",
            moment=moment,
            keep=moment.query,
            offered=offered,
            now=now(),
            noon_of=lambda day: Moment(day=day or None, hour=12).at(now()),
            **values,
        )

    def show(
        template: str,
        view: DemoRequest,
        moment: Moment,
        places: Callable[[str], tuple[Placement, ...]],
        **values: object,
    ) -> str:
        """Decide, and render the page with what was decided."""
        answer = decide(view)
        flags = answer.page.sensitive if answer.page else ()
        return render(
            template,
            moment,
            answer=answer,
            ads=_ads(answer),
            left=[shunned[flag] for flag in flags if flag in shunned],
            view=view,
            publisher=PUBLISHER,
            arrived=device(),
            wire={name: [_wire(place) for place in places(name)] for name in ("phone", "other")},
            facets=FACETS,
            flags=FLAGS,
            **values,
        )

    def view_of(moment: Moment, placements: tuple[Placement, ...], **page: str | None) -> DemoRequest:
        return DemoRequest(
            placements=placements,
            device=moment.device,
            at=moment.at(now()),
            country=moment.country,
            condition=moment.condition,
            temperature_c=moment.temperature_c,
            **page,
        )

    @pages.get("/")
    def front() -> str:
        """Show the front page, itself a page with placements."""
        moment = Moment.read(request.args)
        view = view_of(
            moment,
            front_placements(moment.device or device()),
            url=url_for("demo.front", _external=True),
            title="The Weathervane: a magazine of everyday things",
            description="Articles on what people do with their days.",
            text="\n\n".join(f"{article.title}. {article.standfirst}" for article in articles),
        )
        return show("front", view, moment, front_placements, articles=articles)

    @pages.get("/articles/<article_id>")
    def article(article_id: str) -> str:
        """Show an article with its three placements."""
        found = by_id.get(article_id)
        if found is None:
            abort(404)
        moment = Moment.read(request.args)
        view = view_of(
            moment,
            article_placements(moment.device or device()),
            url=url_for("demo.article", article_id=article_id, _external=True),
            title=found.title,
            description=found.standfirst,
            text=found.text,
        )
        more = [other for other in articles if other.id != found.id][:3]
        return show("article", view, moment, article_placements, article=found, more=more)

    @pages.route("/try", methods=["GET", "POST"])
    def paste() -> str:
        """Show what is understood of a text or HTML that somebody pastes. It is not kept."""
        request.max_content_length = request.max_form_memory_size = MAX_FORM
        moment = Moment.read(request.values)
        pasted = request.form.get("page", "").strip()
        values = {"pasted": pasted[:LONGEST_PASTE], "length": len(pasted), "longest": LONGEST_PASTE}
        if not pasted or len(pasted) > LONGEST_PASTE:
            return render("try", moment, answer=None, **values)
        kind = "html" if looks_like_html(pasted) else "text"
        view = view_of(moment, article_placements(moment.device or device()), **{kind: pasted})
        return show("try", view, moment, article_placements, kind=kind, **values)

    @pages.post("/consent")
    def consent() -> tuple[dict[str, str], int]:
        """Record that a reader agrees, as the magazine's own server does when the switch on its page is turned."""
        agreed = agree()
        return ({}, 503) if agreed is None else (asdict(agreed), 201)

    @pages.errorhandler(404)
    def missing(error: Exception) -> tuple[str, int]:
        """Say that there is no such page."""
        return render_template("demo/missing.html", keep={}), 404

    @pages.after_request
    def shield(response: Response) -> Response:
        """Let the page load what is the service's own, and nothing else."""
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {pictures}; connect-src 'self'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return pages


def article_placements(device: str) -> tuple[Placement, ...]:
    """Return the places of an article: above it, beside it, and two below it."""
    wide, narrow = ((728, 90),), ((320, 100),)
    side = ((300, 250),) if device == "phone" else ((300, 250), (160, 600))
    return (
        Placement("top", ("banner",), narrow if device == "phone" else wide, floor_micros=1_000_000),
        Placement("side", ("banner",), side, floor_micros=2_000_000),
        Placement("end", ("native",), count=2, floor_micros=500_000),
    )


def front_placements(device: str) -> tuple[Placement, ...]:
    """Return the places of the front page: above the articles, and one among them."""
    return (article_placements(device)[0], Placement("feed", ("native",), floor_micros=500_000))


def _wire(place: Placement) -> dict[str, object]:
    """Return a placement as a body of POST /v1/decisions has it."""
    return {
        "id": place.id,
        "formats": place.formats,
        "sizes": place.sizes,
        "count": place.count,
        "floor_cpm": place.floor_micros / 1_000_000,
    }


def looks_like_html(pasted: str) -> bool:
    """Tell HTML from plain text by its first characters, or by a closing tag."""
    return pasted.startswith("<") or "</" in pasted


def _ads(answer: Answer) -> dict[str, list[Ad]]:
    ads: dict[str, list[Ad]] = {}
    for filled in answer.decisions:
        ads.setdefault(filled.placement, []).append(_ad(filled))
    return ads


def _ad(filled: Filled) -> Ad:
    creative = msgspec.json.decode(filled.creative, type=CreativeAnswer)
    return Ad(
        creative,
        filled.click_url,
        filled.score,
        filled.house,
        _shares(filled.reasons),
        filled.message,
        filled.propensity,
    )


def _shares(reasons: Sequence[Reason]) -> tuple[Share, ...]:
    drawn, x = [], 0.0
    # A part that counts against has no length.
    whole = sum(max(reason.share, 0.0) for reason in reasons) or 1.0
    for reason in reasons:
        width = 100 * max(reason.share, 0.0) / whole
        label = FACETS.get(reason.facet, reason.facet.capitalize())
        drawn.append(Share(reason.facet, label, round(width), reason.because, x, width))
        x += width
    return tuple(drawn)


def _shunned(catalog: Sequence[Entity]) -> dict[str, Left]:
    """Return for each sensitive flag the paid campaigns that avoid it, from their own rules."""
    names = {entity.id: entity.name for entity in catalog if isinstance(entity, Advertiser)}
    paid = [entity for entity in catalog if isinstance(entity, Campaign) and not entity.house]
    left = {}
    for flag in SENSITIVE:
        away = [c for c in paid if c.suitability.avoid is None or flag in c.suitability.avoid]
        who = tuple(sorted({names[campaign.advertiser] for campaign in away}))
        left[flag] = Left(flag, FLAGS[flag], who, len(away), len(paid))
    return left
