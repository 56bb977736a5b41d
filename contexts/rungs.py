"""The rungs of knowing more of a page view: what of a context the choice among creatives may read on each.

Rules are kept on every rung: what may run is never a matter of lots. A rung says what ranking and messages read
beside: nothing; into which of the publisher's few segments the view falls; all of page and moment; the page's
contextual cohort as well, which alone rules may name; signals of a consenting reader. A view that is on no rung ("")
reads all that it may.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from contexts.context import Context, Vector, WeatherFacts
from contexts.facets import SoftFacet, context_blocks, likely

Rung = Literal["", "none", "segment", "context", "cohort", "consented", "beside", "unlearned", "learned"]
# "beside": a consenting reader's view that is decided by context, to be compared with "consented".
# "unlearned" views are held out from what was learned, and compared with as many that are decided as usual, "learned".
RUNGS: tuple[Rung, ...] = (
    "", "none", "segment", "context", "cohort", "consented", "beside", "unlearned", "learned",
)  # fmt: skip
LOTS: tuple[Rung, ...] = ("none", "segment", "context", "cohort")  # alike likely
_LOW = ("none", "segment")
_WITHOUT_COHORT = ("none", "segment", "context", "beside")


def put_on(context: Context, lot: int, consented: int) -> Context:
    """Put a page view on a rung by lot: `lot` numbers LOTS; `consented` is 0 or 1, for a consenting reader's view.

    On "context" the views of readers who consented are parted: one half is decided with their signals. Everywhere else
    their signals are left out, so that a rung holds what its name says. Where a reader has seen enough of a campaign
    the view is on none: that is a rule, and is kept.
    """
    if context.told.capped:
        return context
    rung = LOTS[lot]
    if context.consented is None:
        return replace(context, rung=rung)
    if rung == "context" and consented:
        return replace(context, rung="consented")
    return replace(context, rung="beside" if rung == "context" else rung, consented=None)


def hold_out(context: Context, lot: int) -> Context:
    """Hold a page view out from what was learned where `lot` is 0, or let it be what those are compared with."""
    return replace(context, rung="learned" if lot else "unlearned")


def uses_model(context: Context) -> bool:
    """Say whether what was learned decides."""
    return context.rung != "unlearned"


def reads_page(context: Context) -> bool:
    """Say whether the page's words may be read."""
    return context.rung not in _LOW


def reads_cohort(context: Context) -> bool:
    """Say whether the page's contextual cohort may be read."""
    return context.rung not in _WITHOUT_COHORT


def device_of(context: Context) -> str | None:
    """Return the device class as far as it may be read."""
    if context.segment is not None:
        return context.segment.device
    return context.device.cls if reads_page(context) else None


def part_of(context: Context) -> str | None:
    """Return the part of day as far as it may be read."""
    if context.segment is not None:
        return context.segment.part
    return context.clock.part if reads_page(context) else None


def section_of_view(context: Context, section: str) -> str | None:
    """Return the page's section as far as it may be read."""
    if context.segment is not None:
        return context.segment.section
    return section if reads_page(context) else None


def page_vector(context: Context) -> Vector | None:
    """Return the vector of what the page is about, as far as it may be read: of a segment, what its sections are."""
    if context.segment is not None:
        return context.segment.vector
    return context.page.vector if reads_page(context) else None


def page_confidence(context: Context) -> float:
    """Return how far that vector is to be trusted."""
    return context.page.confidence if context.segment is None else 1.0


def weather_of(context: Context) -> WeatherFacts | None:
    """Return the weather as far as it may be read."""
    return context.weather if reads_page(context) else None


def blocks_of(context: Context) -> dict[SoftFacet, Vector]:
    """Return the soft facets as far as they may be read."""
    if reads_page(context):
        return context_blocks(context.device, context.clock, context.weather)
    segment = context.segment
    return {
        "device": likely("device", (None, None)) if segment is None else segment.device_block,
        "time": likely("time", (None, None, None)) if segment is None else segment.time_block,
        "weather": likely("weather", (None, None)),
    }
