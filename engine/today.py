"""How a publisher stands today, told coarsely and from the catalogue alone: no page view is looked at."""

from __future__ import annotations

from typing import Literal

import numpy as np

from engine.catalog import View
from engine.decision import Placement
from engine.index import Eligible
from engine.retrieve import taken

FEW = 5  # campaigns
Today = Literal["many", "few", "house", "none"]


def today(view: View, publisher_id: str) -> Today | None:
    """Say whether many or few paying campaigns may run on a publisher's pages now, whatever their topics.

    "house": none that pays, but one of the house; "none": nothing at all. None for an unknown publisher.
    """
    snapshot = view.snapshot
    publisher = snapshot.publishers.get(publisher_id)
    if publisher is None:
        return None
    approved = view.approved.get(publisher_id)

    def campaigns(house: bool) -> int:
        words = taken(view, publisher, Placement("any"), house=house) & (view.house if house else view.paid)
        rows = Eligible(words if approved is None else words & approved).rows
        return len(np.unique(snapshot.campaign[rows]))

    paying = campaigns(house=False)
    if paying:
        return "few" if paying < FEW else "many"
    return "house" if campaigns(house=True) else "none"
