"""What offers cost, as copy writes it: by the rules of the creative's language (Unicode CLDR)."""

from __future__ import annotations

from decimal import Decimal

from babel import Locale, UnknownLocaleError
from babel.numbers import format_currency

from engine.creative import Creative, Offer, OfferPart


def price_in(language: str | None, price: str, currency: str) -> str | None:
    """Write a price as a language does, in English where none is given; None where nobody knows how."""
    try:
        locale = Locale.parse(language or "en")
    except UnknownLocaleError:
        return None
    return format_currency(Decimal(price), currency, locale=locale)


def prices_of(creative: Creative) -> dict[str, str]:
    """Return what a creative's offers cost, as its language writes it: by part, its own by ""."""
    offers = creative.parts.offers if creative.parts is not None else ()
    found: list[tuple[str, Offer | OfferPart | None]] = [("", creative.offer), *((p.id, p) for p in offers)]
    written = {
        id: price_in(creative.language, one.price, one.currency)
        for id, one in found
        if one is not None and one.price is not None and one.currency is not None
    }
    return {id: price for id, price in written.items() if price is not None}
