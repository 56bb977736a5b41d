"""A page view with the person taken out."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

DeviceClass = Literal["phone", "tablet", "desktop", "tv"]
Platform = Literal["android", "ios", "windows", "macos", "linux", "other"]
Condition = Literal["clear", "cloudy", "fog", "drizzle", "rain", "snow", "thunder"]

DEVICE_CLASSES: tuple[DeviceClass, ...] = ("phone", "tablet", "desktop", "tv")
PLATFORMS: tuple[Platform, ...] = ("android", "ios", "windows", "macos", "linux", "other")
CONDITIONS: tuple[Condition, ...] = ("clear", "cloudy", "fog", "drizzle", "rain", "snow", "thunder")
# ISO 3166-1 alpha-2
COUNTRIES = frozenset(
    (
        "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS "
        "BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE "
        "EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM "
        "HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC "
        "LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA "
        "NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW "
        "SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO "
        "TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW "
    ).split()
)


class Device(Struct, frozen=True):
    """One of 4 × 6 kinds of device: all that a user agent is ever read for."""

    cls: DeviceClass = "desktop"
    platform: Platform = "other"


class LetGo(Struct, frozen=True):
    """What stands for a caller's words once they were let go: enough to find again what was made of them."""

    digest: str  # 32 hex digits over the words
    whole: bool  # there was the page's text or HTML among them


class PageInput(Struct, frozen=True):
    """What the caller says of the page; the text lives as long as the request and its re-encoding (60 s)."""

    url: str | None = None  # canonical: no query, fragment, userinfo; e-mail addresses and long digits masked
    title: str | None = None
    description: str | None = None
    text: str | None = None
    html: str | None = None
    language: str | None = None  # BCP 47, as the caller states it
    keywords: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()  # ids of the taxonomy named by cattax
    cattax: int = 9  # AdCOM List: Category Taxonomies; 9 is IAB Content Taxonomy 3.1
    let_go: LetGo | None = None  # in place of the caller's words


class PlaceInput(Struct, frozen=True):
    """Country (ISO 3166-1 alpha-2) and region (ISO 3166-2 subdivision code), as the publisher states them."""

    country: str | None = None
    region: str | None = None


class WeatherInput(Struct, frozen=True):
    """The weather as the caller states it."""

    condition: str | None = None
    temperature_c: float | None = None
    wind_ms: float | None = None


class Visit(Struct, frozen=True):
    """All that the engine is told of a page view. Equal visits give equal bytes."""

    publisher: str
    device: Device = Device()
    ivt: bool = False  # invalid traffic: declared bots, prefetch, no user agent
    gpc: bool = False  # Sec-GPC: 1
    trusted: bool = False  # an authenticated call of the publisher's own server
    page: PageInput = PageInput()
    timezone: str | None = None  # IANA name, as the caller states it
    at: datetime | None = None  # aware; as the caller states it
    place: PlaceInput = PlaceInput()
    weather: WeatherInput | None = None
