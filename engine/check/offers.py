"""Offers as feeds tell them, of a whole creative or of one line of its messages."""

from __future__ import annotations

from datetime import datetime

from babel.numbers import get_currency_precision, is_currency

from engine.check.findings import Findings
from engine.creative import Creative, Offer, OfferPart


def check_offer(offer: Offer | OfferPart, path: str, found: Findings) -> None:
    """Refuse dates the wrong way round, and a price that its currency has not, or without one."""
    if offer.start is not None and offer.end is not None and offer.start >= offer.end:
        expected = f"a time after the start, {offer.start.isoformat()}"
        found.refuse(f"{path}.end", offer.end.isoformat(), expected)
    if (offer.price is None) != (offer.currency is None):
        missing = "currency" if offer.currency is None else "price"
        found.refuse(f"{path}.{missing}", None, "a price with its currency, or neither")
    elif offer.price is not None and offer.currency is not None:
        if not is_currency(offer.currency):
            found.refuse(f"{path}.currency", offer.currency, "a currency of ISO 4217, such as 'EUR'")
        elif len(offer.price.partition(".")[2].rstrip("0")) > get_currency_precision(offer.currency):
            expected = f"at most {get_currency_precision(offer.currency)} digits behind the point in {offer.currency}"
            found.refuse(f"{path}.price", offer.price, expected)


def tell_over(creative: Creative, now: datetime, found: Findings) -> None:
    """Say which offers do not render: feeds bring such, and it is no fault."""
    parts = creative.parts.offers if creative.parts is not None else ()
    offers: list[tuple[str, Offer | OfferPart]] = [(f"parts.offers[{n}]", one) for n, one in enumerate(parts)]
    if creative.offer is not None:
        offers.append(("offer", creative.offer))
    for path, offer in offers:
        if offer.end is not None and offer.end <= now:
            found.warnings.append(f"{path}: it ended at {offer.end.isoformat()} and never renders")
        elif offer.stock == 0:
            found.warnings.append(f"{path}: it is sold out and does not render")
