"""What one request is decided on: a view of the catalogue, the context, and what was worked out for them before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from contexts.context import Context, PageFacts, SegmentFacts, Vector
from contexts.segments import Segments
from engine.cache import Bounded
from engine.catalog import View
from engine.decision import Filled, PageAnswer
from engine.index import Words
from engine.message import Mixer, Mixture
from engine.rank import Shortlist
from engine.record import Shown
from engine.retrieve import Moods, PageList, Soft
from engine.worlds import Lots, Worlds

Key = tuple[object, ...]
Tier = Literal["guaranteed", "paid", "house"]  # who comes first, whatever fits


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for the placements of a page, and told."""

    filled: tuple[Filled, ...]
    unfilled: tuple[str, ...]
    page: PageAnswer | None
    shown: tuple[Shown, ...]  # what fills the placements, and what its events cost
    asked: int  # creatives
    mixtures: tuple[Mixture | None, ...] = ()  # of what fills the placements, where any is put together


class Settled:
    """What was worked out for one scene, to be found again: where it is `lasting`, by other requests, too.

    Most scenes of a busy site come but once. Of those the choices alone are kept; all else is freed at once, and its
    memory used again while it is warm: that costs less than to keep it and forget it later.
    """

    __slots__ = ("answers", "choices", "lasting", "mixtures", "shortlists", "soft", "worlds")

    def __init__(self, choices: Bounded[Key, Choice] | None = None) -> None:
        """`choices` are those of the scene when it came before; None: it is new."""
        self.lasting = choices is not None
        self.soft: Soft | None = None
        self.shortlists: Bounded[Key, Shortlist] = Bounded(16)
        self.answers: Bounded[Key, Filled] = Bounded(64)
        self.choices: Bounded[Key, Choice] = Bounded(64) if choices is None else choices
        self.mixtures: Bounded[Key, Mixture] = Bounded(64)
        self.worlds: Bounded[Key, Worlds] = Bounded(4)  # by placements


class Kept:
    """What was worked out over one view, to be found again; it goes when the view goes."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.moods = Moods(view.snapshot)
        self.scenes: Bounded[Key, Settled] = Bounded(2048)  # that came twice
        self.choices: Bounded[Key, Bounded[Key, Choice]] = Bounded(2048)  # of every scene
        self.grounds: Bounded[Key, Words] = Bounded(256)
        self.clauses: Bounded[PageFacts, tuple[tuple[int, ...], ...]] = Bounded(4096)
        self.focused: Bounded[PageFacts | SegmentFacts, Vector] = Bounded(4096)
        self.segments: Bounded[str, Segments] = Bounded(256)  # by publisher
        self.page_lists: Bounded[Key, PageList] = Bounded(512)
        self.about: Bounded[tuple[PageFacts, int], str] = Bounded(16_384)
        self.asked: Bounded[Key, int] = Bounded(1024)  # searches without a page list
        self.mixers: Bounded[int, Mixer] = Bounded(4096)  # by row
        self._lots: Lots | None = None

    def lots(self) -> Lots:
        """Return what a model and its worlds hold for the view's creatives."""
        if self._lots is None:
            self._lots = Lots(self.view)
        return self._lots


@dataclass(frozen=True, slots=True)
class Scene:
    """What one request is decided on: the view with what is kept of it, and the context."""

    kept: Kept
    context: Context
    key: Key  # facts that were read anew, or got another vector, are another object
    settled: Settled

    @property
    def view(self) -> View:
        """Return the view of the catalogue."""
        return self.kept.view


def scene_key(view: View, context: Context) -> Key:
    """Return what matching can see of a context beside its page: with the same page, the same creatives."""
    clock, weather, place = context.clock, context.weather, context.place
    told = None if context.consented is None else context.consented.value
    return (
        context.publisher,
        context.device.cls,
        context.device.platform,
        place.country,
        place.region,
        (weather.condition, weather.temperature, weather.confidence) if weather else None,
        clock.part,
        clock.weekday,
        clock.season,
        clock.holiday,
        tuple(view.moments(clock.at).values()),
        view.snapshot.conditions.around(context),
        told,
        context.rung,
        None if context.segment is None else context.segment.id,
    )
