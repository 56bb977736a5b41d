"""What the advertiser's forms ask of a campaign with its flight, and of a creative."""

from __future__ import annotations

from contexts.context import (
    CONDITIONS,
    INTENTS,
    PARTS_OF_DAY,
    SEASONS,
    SENSITIVE,
    TEMPERATURES,
    WEEKDAYS,
)
from engine.web.form_fields import Field, Group, Kind
from privacy.visit import DEVICE_CLASSES

_LIST = "several with ; between them"


def _both(name: str, label: str, kind: Kind, hint: str, options: tuple[str, ...] = ()) -> tuple[Field, ...]:
    return (
        Field(f"targeting.{name}.include", f"{label}: only", kind, hint, options),
        Field(f"targeting.{name}.exclude", f"{label}: not", kind, "", options),
    )


# Of what is new alone; neither stands in the body.
ID = Field("id", "Id", hint="small letters, digits, '.', '_' and '-'; it stays", needed=True)
ADVERTISER = Field("advertiser", "Advertiser", needed=True)

CAMPAIGN = (
    Group(
        "Campaign",
        (
            Field("name", "Name", needed=True),
            Field("cpm_micros", "Price of a thousand impressions", "amount", "one of the three prices"),
            Field("vcpm_micros", "Price of a thousand viewable impressions", "amount"),
            Field("cpc_micros", "Price of a click", "amount"),
            Field("keywords", "What it is about", "words", _LIST),
            Field(
                "categories", "Ad product categories", "words", f"IAB Ad Product Taxonomy 2.0 ids, {_LIST}"
            ),
        ),
    ),
    Group(
        "Flight",
        (
            Field("flight.start", "First minute", "moment", "in the flight's time zone"),
            Field("flight.end", "Ends at", "moment", "in the flight's time zone"),
            Field("flight.timezone", "Time zone", hint="such as Europe/Berlin; UTC if left out"),
            Field("flight.budget_micros", "Budget in all", "amount"),
            Field("flight.daily_budget_micros", "Budget a day", "amount"),
            Field(
                "flight.pacing",
                "Pacing",
                "choice",
                "as soon as possible, evenly by the hour, or more in the first hours",
                ("asap", "even", "front"),
            ),
        ),
    ),
    Group(
        "Pages",
        (
            *_both("topics", "Topics", "words", f"IAB Content Taxonomy 3.1 ids, {_LIST}"),
            *_both("keywords", "Words in the page", "words", _LIST),
            *_both("languages", "Languages", "words", "ISO 639-1, such as en; de"),
            *_both("intents", "Intent of the page", "several", "", INTENTS),
            *_both("publishers", "Publishers", "words", _LIST),
            *_both("sections", "Sections", "words", "publisher/section"),
            Field(
                "suitability.avoid",
                "Avoid pages about",
                "several",
                "none chosen: all of these",
                tuple(SENSITIVE),
            ),
            Field(
                "suitability.risk",
                "Take such pages up to a risk of",
                "choice",
                "none: not at all",
                ("none", "low", "medium", "high"),
            ),
            Field("suitability.accept_unknown", "May run where the text is not known", "flag"),
        ),
        closed=True,
    ),
    Group(
        "Moment and place",
        (
            *_both("devices", "Devices", "several", "", DEVICE_CLASSES),
            *_both("parts_of_day", "Parts of the day", "several", "", PARTS_OF_DAY),
            *_both("weekdays", "Weekdays", "several", "", WEEKDAYS),
            Field("targeting.timezone", "Time zone of these", hint="left out: the publisher's"),
            Field("targeting.hours", "Hours", "hours", "one a line: mon tue 09:00-17:30 Europe/Berlin"),
            *_both("seasons", "Seasons", "several", "", SEASONS),
            *_both("holidays", "Public holidays", "words", "any, or names in English"),
            *_both("weather", "Weather", "several", "", (*CONDITIONS, *TEMPERATURES)),
            Field("targeting.temperature_c.at_least", "At least so many °C", "number"),
            Field("targeting.temperature_c.below", "Below so many °C", "number"),
            Field("targeting.wind_ms.at_least", "Wind of at least so many m/s", "number"),
            Field("targeting.wind_ms.below", "Wind below so many m/s", "number"),
            *_both("countries", "Countries", "words", "ISO 3166-1, such as DE; FR"),
            *_both("regions", "Regions", "words", "ISO 3166-2, such as DE-BE"),
        ),
        closed=True,
    ),
    Group(
        "Nested rule",
        (
            Field(
                "targeting.rule",
                "All, any and none of conditions",
                "json",
                'such as {"any": [{"weather": ["rain"]}, {"temperature_c": {"below": 5}}]}',
            ),
        ),
        closed=True,
    ),
    Group(
        "Sharing pages with others",
        (
            Field("share_cap", "Of the time at most", "number", "0 to 1; left out: always"),
            Field("separation", "Never beside campaigns with one of these labels", "words", _LIST),
        ),
        closed=True,
    ),
    Group(
        "Political advertising, Regulation (EU) 2024/900",
        (
            Field("political", "This is political advertising", "flag"),
            Field("political_notice.sponsor", "Sponsor, with the published address"),
            Field("political_notice.controlled_by", "Who controls the sponsor in the end"),
            Field("political_notice.amount", "Paid in all, with its currency"),
            Field("political_notice.process", "Election, referendum or law that it is linked to"),
            Field("political_notice.notice_url", "Address of the transparency notice"),
        ),
        closed=True,
    ),
)

CREATIVE = (
    Group(
        "Creative",
        (
            Field("format", "Format", "choice", "", ("native", "banner")),
            Field("headline", "Headline"),
            Field("body", "Text", "long"),
            Field("cta", "Call to action"),
            Field("sponsored_by", "Sponsored by", hint="left out: the advertiser's name"),
            Field("landing_url", "Leads to", hint="https, on a verified domain", needed=True),
            Field("language", "Language", hint="ISO 639-1"),
            Field("keywords", "What it is about", "words", _LIST),
            Field("size", "Size of a banner", "size", "such as 300x250"),
            Field(
                "image.hash", "Hosted picture", hint="its hash; pictures come in by tactful load or the API"
            ),
            Field("image.alt", "What the picture shows"),
            Field("html", "HTML of a banner", "long"),
        ),
    ),
    Group(
        "Offer",
        (
            Field("offer.start", "Valid from", "moment", "in the flight's time zone"),
            Field("offer.end", "Valid until", "moment", "in the flight's time zone"),
            Field("offer.price", "Price"),
            Field("offer.currency", "Currency", hint="ISO 4217, such as EUR"),
            Field("offer.stock", "In stock", "whole", "0: it does not run"),
        ),
        closed=True,
    ),
    Group(
        "Parts that messages are put together from",
        (Field("parts", "Headlines, texts, pictures, calls to action and offers", "json"),),
        closed=True,
    ),
    Group(
        "Rules beside the campaign's",
        (Field("targeting.rule", "All, any and none of conditions", "json"),),
        closed=True,
    ),
)
