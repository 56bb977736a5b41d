"""A page view with the person taken out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

DeviceClass = Literal["phone", "tablet", "desktop", "tv"]
Platform = Literal["android", "ios", "windows", "macos", "linux", "other"]

DEVICE_CLASSES: tuple[DeviceClass, ...] = ("phone", "tablet", "desktop", "tv")
PLATFORMS: tuple[Platform, ...] = ("android", "ios", "windows", "macos", "linux", "other")


@dataclass(frozen=True, slots=True)
class Device:
    """One of 4 × 6 kinds of device: all that a user agent is ever read for."""

    cls: DeviceClass = "desktop"
    platform: Platform = "other"


@dataclass(frozen=True, slots=True)
class PageInput:
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


@dataclass(frozen=True, slots=True)
class PlaceInput:
    """Country (ISO 3166-1 alpha-2) and region (ISO 3166-2 subdivision code), as the publisher states them."""

    country: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class WeatherInput:
    """The weather as the caller states it."""

    condition: str | None = None
    temperature_c: float | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """All that the engine is told of a page view. Equal visits give equal bytes."""

    publisher: str
    device: Device = Device()
    ivt: bool = False  # invalid traffic: declared bots, prefetch, no user agent
    gpc: bool = False  # Sec-GPC: 1
    trusted: bool = False  # an authenticated call of the publisher's own server
    page: PageInput = field(default_factory=PageInput)
    timezone: str | None = None  # IANA name, as the caller states it
    at: datetime | None = None  # aware; as the caller states it
    place: PlaceInput = PlaceInput()
    weather: WeatherInput | None = None
