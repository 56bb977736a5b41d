"""What the service is in other people's auctions: currencies, prices, and what categories mean in whose taxonomy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from contexts.context import TopicId
from contexts.taxonomy import (
    CATTAX_AD_PRODUCT_2_0,
    CATTAX_CONTENT_1_0,
    CATTAX_CONTENT_3_0,
    CATTAX_CONTENT_3_1,
    CONTENT_1_0_TIER_1,
    Taxonomy,
)

PARTS = 1_000_000  # of a unit of currency
THOUSAND = 1000  # impressions that prices are told for
# Content Taxonomy 2.x shares most ids of its subjects with 3.x.
CONTENT_TAXONOMIES = (2, 5, 6, CATTAX_CONTENT_3_0, CATTAX_CONTENT_3_1)


class Categories:
    """What requests say of advertisers' categories, in whichever taxonomy, in our own: Ad Product 2.0."""

    def __init__(self, products: Taxonomy, content: Taxonomy, counterparts: Mapping[TopicId, str]) -> None:
        """`counterparts` are the products' in Content Taxonomy 1.0."""
        self._products, self._content = products, content
        self._by_1_0: dict[str, set[str]] = {}  # a code of Content 1.0, or what stands above it
        self._by_tier_1: dict[TopicId, set[str]] = {}  # a first tier of Content 3.1
        self._tier_1: dict[str, TopicId] = {}
        for product, code in counterparts.items():
            above = code.partition("-")[0]
            for known in {code, above}:
                self._by_1_0.setdefault(known, set()).add(product)
            tier_1 = CONTENT_1_0_TIER_1.get(above)
            if tier_1 is not None:
                self._by_tier_1.setdefault(tier_1, set()).add(product)
                self._tier_1[product] = tier_1

    def blocked(self, categories: Iterable[str], cattax: int) -> tuple[str, ...] | None:
        """Return all products that a request's `bcat` blocks; None where it is in a taxonomy that is not read.

        What is coarser there than here blocks more, never less.
        """
        found: set[str] = set()
        for category in categories:
            if cattax == CATTAX_CONTENT_1_0:
                found |= self._by_1_0.get(category, set())
            elif cattax == CATTAX_AD_PRODUCT_2_0:
                if category in self._products:
                    found |= self._products.subtree(TopicId(category))
            elif cattax in CONTENT_TAXONOMIES:
                if category in self._content:
                    found |= self._by_tier_1.get(self._content.tier_1(TopicId(category)), set())
            else:
                return None
        return tuple(sorted(found))

    def told(self, products: Sequence[str], cattax: int) -> tuple[tuple[str, ...], int]:
        """Return what is advertised in the taxonomy that was asked in, and which that is: 7, 8 or 9."""
        if cattax == CATTAX_AD_PRODUCT_2_0:
            return tuple(products), cattax
        topics = dict.fromkeys(self._tier_1[one] for one in products if one in self._tier_1)
        return tuple(topics), cattax if cattax == CATTAX_CONTENT_3_0 else CATTAX_CONTENT_3_1


@dataclass(frozen=True, slots=True)
class Market:
    """What the service is in other people's auctions."""

    domain: str  # its own, for DSA
    currency: str  # of its amounts
    rates: Mapping[
        str, float
    ]  # how much one unit of it is, in each currency that may be told, itself among them
    categories: Categories
    secure: bool = True  # whether its addresses may stand in a page that came over https

    def bids_in(self, allowed: Sequence[str]) -> str | None:
        """Return the currency to bid in, our own if it may be; None where none may."""
        if not allowed or self.currency in allowed:
            return self.currency
        return next((name for name in allowed if name in self.rates), None)

    def micros(self, amount: float, currency: str) -> int | None:
        """Return the least amount of ours that is no less, in whole micro-units; None in an unknown currency."""
        if amount <= 0:
            return 0
        rate = self.rates.get(currency)
        return None if rate is None else math.ceil(round(amount / rate * PARTS, 3))

    def price(self, micros: int, currency: str) -> float:
        """Return what a thousand events of a price are in a currency, rounded down."""
        amount = micros * THOUSAND / PARTS * self.rates[currency]
        return math.floor(round(amount * PARTS, 3)) / PARTS
