"""A message: one combination of a creative's parts, chosen as a whole.

What may stand together is known before anybody asks. In a context, parts that may not be shown fall out, the governor
strikes messages that would come too near, and what is left is drawn from with the chances that `engine.learn.explore`
gives: a message's propensity is the chance that it was drawn with.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from contexts.context import Context, Vector
from contexts.facets import SOFT_FACETS, prefer_blocks
from contexts.rungs import blocks_of, page_confidence, page_vector, part_of, section_of_view, weather_of
from engine.assemble import answered
from engine.campaign import Size
from engine.creative import Creative, ImagePart, OfferPart, Only, Part, Slot, messages
from engine.decision import Asset, Assets, CreativeAnswer, MessageAnswer, PoliticalAnswer
from engine.governor import (
    DEVICE,
    HOUR,
    PLACE,
    WEATHER,
    Limits,
    copy_of,
    in_words,
    mentions,
    names,
    topics_named,
)
from engine.learn.diet import Facet
from engine.learn.explore import chances, joint
from engine.learn.response import Responses
from engine.sections import OTHER
from engine.wording import Said, Wording, read, render, spoken

PAGE_SLOPE = (
    1.5  # of a relative response, for a cosine by which a part is nearer to the page than its slot's mean
)
PREFER_GAIN = 0.8  # between a preference that is met wholly and one that is not at all
SURE = 0.5  # confidence from which weather is named
_TOKEN_MASKS = {"weather": WEATHER, "part_of_day": HOUR, "section": 0, "price": 0}


class Kit(msgspec.Struct, frozen=True, array_like=True):
    """What a creative's messages are made of, in a snapshot."""

    creative: Creative
    campaign: str
    advertiser: str
    sponsor: str
    image: Asset | None  # of the default message
    pictures: dict[str, Asset]  # of the parts that are pictures
    first: int  # where the vectors of its parts begin
    behalf: str
    paid_by: str
    political: PoliticalAnswer | None
    prices: dict[
        str, str
    ] = {}  # of offers among the parts, and of the creative's own, "", as they are written


def seconds_of(offer: OfferPart) -> tuple[int | None, int | None]:
    """Return the whole seconds since 1970 from which an offer holds and at which it is over.

    What was worked out in a second serves as long as it lasts, so none lies outside of what was said.
    """
    return (
        None if offer.start is None else ceil(offer.start.timestamp()),
        None if offer.end is None else floor(offer.end.timestamp()),
    )


def words_of(part: Part, price: str | None = None) -> str:
    """Return what a part says, tokens but a price as their fall-backs; of a picture what it shows."""
    return (
        part.image.alt
        if isinstance(part, ImagePart)
        else render(read(part.text, "text"), Said(price=price), None)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A message that was drawn."""

    parts: str  # "slot/part" of each, in the order of SLOTS, with a space between; "" is the default message
    propensity: float
    weight: float | None  # by how much more often the challenger would draw it; None: there is no challenger
    nearness: float = (
        0.0  # by how much the page's words made a response to it be expected higher, before counts
    )


class Mixer:
    """A creative's messages, whatever the context. Made once a snapshot."""

    def __init__(self, kit: Kit, vectors: Vector) -> None:
        """Take a kit and the (parts, dim) vectors of its parts, in their order; a zero row has no words."""
        parts = kit.creative.parts
        if parts is None:
            raise ValueError(f"creative {kit.creative.id}: got no parts, expected some")
        self.kit = kit
        self.parts: tuple[Part, ...] = tuple(parts)
        # By columns: a slot's part of each message.
        self.messages: NDArray[np.intp] = np.asfortranarray(messages(parts), np.intp)
        sizes = [len(some) for _, some in parts.lists]
        self.slots = tuple(slot for slot, _ in parts.lists)
        starts = np.cumsum([0, *sizes[:-1]])
        self.flat = np.ascontiguousarray(self.messages + starts)  # (messages, slots) numbers of parts
        # Part n stands in (slot, place): slots are padded to one width, so that all are worked on at once.
        self.places = np.repeat(np.arange(len(sizes)), sizes), np.concatenate([np.arange(n) for n in sizes])
        self.shape = (len(sizes), max(sizes))
        # Of each part its words less the mean of its slot's: what tells it from the others there.
        slot_of = self.places[0][:, None] == self.places[0]
        self.apart = vectors - (slot_of / slot_of.sum(axis=1, keepdims=True)).astype(vectors.dtype) @ vectors
        named = [(slot, part.id) for slot, some in parts.lists for part in some]
        self.components = [(kit.creative.id, f"{slot}/{id}") for slot, id in named]
        self.wordings: list[Wording | None] = [
            None if isinstance(part, ImagePart) else read(part.text, "text") for part in self.parts
        ]
        self.says = [words_of(part) for part in self.parts]
        self.named = np.array(
            [names(said) | _implied(part.only) for said, part in zip(self.says, self.parts, strict=True)],
            np.int64,
        )
        # What all messages name: a creative's own copy where no part takes its place.
        self.own = names(copy_of(_without(kit.creative, self.slots)))
        self.still = self._naming(self.named)  # what messages name without tokens
        self.all = np.arange(len(self.flat))
        self.stands = np.zeros(len(self.parts), bool)  # in any message
        self.stands[self.flat] = True
        self.all_stand = bool(self.stands.all())
        self.even = len(self.parts) == self.shape[0] * self.shape[1]  # all slots are as wide
        self.speaking = [
            (n, wording)
            for n, wording in enumerate(self.wordings)
            if wording is not None and any(piece.token for piece in wording)
        ]
        self.topics = [topics_named(said) for said in self.says]
        self.offers = [
            (n, seconds_of(part), part.stock)
            for n, part in enumerate(self.parts)
            if isinstance(part, OfferPart) and (part.start, part.end, part.stock) != (None, None, None)
        ]
        self._placed: tuple[Responses, NDArray[np.intp]] | None = None
        self.bound = [n for n, part in enumerate(self.parts) if part.only != Only()]
        self.prefers = [
            (n, prefer_blocks(p.prefer.devices, p.prefer.times, p.prefer.weather))
            for n, p in enumerate(self.parts)
            if p.prefer.devices or p.prefer.times or p.prefer.weather
        ]

    def mix(
        self,
        context: Context,
        section: str,
        now: datetime,
        limits: Limits,
        responses: Responses,
        challenger: Responses | None,
        facets: Mapping[Facet, str],
        size: Size | None,
    ) -> Mixture:
        """Work out with which chance each message is drawn in a context."""
        said = said_in(context, section)
        there = self._there(context, section, now)
        still, loud = self.still, self._loud(said)
        allows = limits.allowed
        speaks = allows[loud]
        allowed = speaks | allows[still] if loud is not still else speaks
        if there is not None:
            allowed = allowed & there[self.flat].all(axis=1)
        some = None if allowed.all() else allowed
        expected = self._match(context), self._wish(context)
        chance, offset, learned = self._chances(responses, facets, there, some, *expected)
        other = None
        if challenger is not None:
            other = self._chances(challenger, facets, there, some, *expected)[0]
        kept, named = self.all, loud if loud is still else np.where(speaks, loud, still)
        if some is not None:
            kept = chance.nonzero()[0]
            chance, speaks, named = chance[kept], speaks[kept], named[kept]
            other = None if other is None else other[kept]
        return Mixture(
            self, said, size, limits, responses.id, kept, chance, chance.cumsum(), other, speaks, named,
            offset, learned, expected[0],
        )  # fmt: skip

    def _chances(
        self,
        responses: Responses,
        facets: Mapping[Facet, str],
        there: NDArray[np.bool_] | None,
        allowed: NDArray[np.bool_] | None,
        match: NDArray[np.float64],
        wish: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return the chances of the messages, and of each part what it is believed to do before and after counts."""
        places, columns = self._places_in(responses), responses.columns(facets)
        learned, sd, page, moment = responses.read(places, columns)
        offset = match * page + wish * moment
        # A part that stands in no message that is allowed takes nothing from the others of its slot.
        useful = self.stands
        if allowed is not None:
            useful = np.zeros(len(self.parts), bool)
            useful[self.flat[allowed]] = True
        if there is not None:
            useful = there & useful
        if self.even:
            mean, width = (learned + offset).reshape(self.shape), sd.reshape(self.shape)
            here = None if useful is self.stands and self.all_stand else useful.reshape(self.shape)
        else:
            mean, width, here = np.zeros(self.shape), np.ones(self.shape), np.zeros(self.shape, bool)
            mean[self.places], width[self.places], here[self.places] = learned + offset, sd, useful
        return joint(chances(mean, width, here), self.messages, allowed), offset, learned

    def _places_in(self, responses: Responses) -> NDArray[np.intp]:
        """Return where the parts stand in a model; of the one that was asked for last it is known."""
        placed = self._placed
        if placed is None or placed[0] is not responses:
            placed = self._placed = responses, responses.places(self.components)
        return placed[1]

    def _match(self, context: Context) -> NDArray[np.float64]:
        """Return (parts,) by how much the page's words make each part's response differ from its slot's."""
        page = page_vector(context)
        if page is None:
            return np.zeros(len(self.parts))
        match: NDArray[np.float64] = (self.apart @ page).astype(np.float64)
        match *= PAGE_SLOPE * page_confidence(context)
        return match

    def _loud(self, said: Said) -> NDArray[np.int64]:
        """Return (messages,) what they name where tokens become words."""
        language = self.kit.creative.language
        masks = [
            (n, sum(_TOKEN_MASKS[token] for token in spoken(wording, said, language)))
            for n, wording in self.speaking
        ]
        if not any(mask for _, mask in masks):
            still: NDArray[np.int64] = self.still
            return still
        named: NDArray[np.int64] = self.named.copy()
        for n, mask in masks:
            named[n] |= mask
        return self._naming(named)

    def _naming(self, parts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (messages,) what they name, of (parts,) what their parts do."""
        named: NDArray[np.int64] = np.bitwise_or.reduce(parts[self.flat], axis=1) | self.own
        return named

    def _wish(self, context: Context) -> NDArray[np.float64]:
        """Return (parts,) by how much the parts' own preferences do so."""
        wish = np.zeros(len(self.parts))
        if self.prefers:
            blocks = blocks_of(context)
            for n, wished in self.prefers:
                fits = [
                    float(wished[f] @ blocks[f]) for f in SOFT_FACETS if wished[f].any() and blocks[f].any()
                ]
                if fits:
                    wish[n] = PREFER_GAIN * (sum(fits) / len(fits) - 0.5)
        return wish

    def _there(self, context: Context, section: str, now: datetime) -> NDArray[np.bool_] | None:
        """Say which parts may be shown at all; None: all."""
        if not (self.bound or self.offers or context.page.special or context.told.used):
            return None
        there = np.ones(len(self.parts), bool)
        for n in self.bound:
            there[n] = _met(self.parts[n].only, context, section)
        second = int(now.timestamp())
        for n, (start, end), stock in self.offers:
            begun = start is None or start <= second
            there[n] &= begun and (end is None or second < end) and stock != 0
        if context.page.special:
            for n, topics in enumerate(self.topics):
                there[n] &= not topics & context.page.special
        if context.told.used:
            for n, said in enumerate(self.says):
                there[n] &= not mentions(said, context.told.used)
        return None if there.all() else there


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """The messages that a creative may show in one context, with the chance of each."""

    mixer: Mixer
    said: Said
    size: Size | None
    limits: Limits
    policy: str
    kept: NDArray[np.intp]  # (n,) numbers of the messages
    chance: NDArray[np.float64]  # (n,) sums to 1
    cumulative: NDArray[np.float64]  # (n,) sums of the chances
    other: NDArray[np.float64] | None  # (n,) chances under the challenger
    speaks: NDArray[np.bool_]  # (n,) whether tokens become words, or stay their fall-backs
    named: NDArray[np.int64]  # (n,) masks of what copy names
    offset: NDArray[np.float64]  # (parts,)
    learned: NDArray[np.float64]  # (parts,)
    match: NDArray[np.float64]  # (parts,) what the page's words made one expect

    def draw(self, chance: float) -> int:
        """Return which of the messages a number from 0 to 1 stands for; -1 is the default message."""
        if not len(self.kept):
            return -1
        at = int(self.cumulative.searchsorted(chance * self.cumulative[-1], "right"))
        return min(at, len(self.kept) - 1)

    def chosen(self, drawn: int) -> Chosen:
        """Describe a message that was drawn."""
        if drawn < 0:
            return Chosen("", 1.0, None if self.other is None else 1.0)
        chance = float(self.chance[drawn])
        weight = None if self.other is None else float(self.other[drawn]) / chance
        numbers = self.mixer.flat[self.kept[drawn]]
        shown = " ".join(self.mixer.components[n][1] for n in numbers)
        return Chosen(shown, chance, weight, float(np.add.reduce(self.match[numbers])))

    def answer(self, drawn: int) -> CreativeAnswer:
        """Return the creative that shows it."""
        kit = self.mixer.kit
        creative = kit.creative
        shown: dict[str, str] = {"headline": creative.headline, "body": creative.body, "cta": creative.cta}
        image = kit.image
        if drawn >= 0:
            numbers = self.mixer.flat[self.kept[drawn]]
            said = self.said if self.speaks[drawn] else Said()
            if kit.prices:
                said = said._replace(price=self._price(numbers))
            for slot, number in zip(self.mixer.slots, numbers, strict=True):
                wording = self.mixer.wordings[number]
                if wording is None:
                    image = kit.pictures[self.mixer.parts[number].id]
                else:
                    shown[slot] = render(wording, said, creative.language)
        assets = Assets(
            shown["headline"], shown["body"], shown["cta"], kit.sponsor, image, shown.get("offer", "")
        )
        return answered(
            creative, kit.campaign, kit.advertiser, assets, None, self.size,
            kit.behalf, kit.paid_by, kit.political,
        )  # fmt: skip

    def _price(self, numbers: NDArray[np.intp]) -> str | None:
        """Return the price of the offer among these parts, or else of the creative's own."""
        prices, parts = self.mixer.kit.prices, self.mixer.parts
        offered = next((one.id for n in numbers if isinstance(one := parts[n], OfferPart)), "")
        return prices.get(offered) or prices.get("")

    def explained(self, drawn: int) -> MessageAnswer:
        """Say what it was put together from, and how near it comes to a reader's situation."""
        parts = self._parts(drawn) if drawn >= 0 else []
        mask = int(self.named[drawn]) if drawn >= 0 else default_names(self.mixer.kit.creative)
        bits = self.limits.bits[mask]
        return MessageAnswer(
            {slot: part.id for slot, part in zip(self.mixer.slots, parts, strict=False)},
            self.policy,
            len(self.kept),
            tuple(self._because(part) for part in parts),
            in_words(mask),
            round(bits or 0.0, 2),
            self.limits.budget,
        )

    def _parts(self, drawn: int) -> list[Part]:
        return [self.mixer.parts[n] for n in self.mixer.flat[self.kept[drawn]]]

    def _because(self, part: Part) -> str:
        n = self.mixer.parts.index(part)
        shown = self.mixer.components[n][1].replace("/", " ", 1)
        return f"{shown}: match {self.offset[n]:+.2f}, learned {self.learned[n]:+.2f}"


def said_in(context: Context, section: str) -> Said:
    """Return what tokens may say in a context. On a page of an Article 9 topic its section is not named."""
    weather, named = weather_of(context), section_of_view(context, section)
    return Said(
        weather.condition if weather is not None and weather.confidence >= SURE else None,
        part_of(context),
        None if context.page.special or named == OTHER else named,
    )


def default_names(creative: Creative) -> int:
    """Return a mask of what a creative's own copy names, whatever its parts say."""
    return names(copy_of(creative))


def _without(creative: Creative, slots: Collection[Slot]) -> Creative:
    """Return a creative without the copy and picture that parts take the place of."""
    texts = {slot: "" for slot in ("headline", "body", "cta") if slot in slots}
    return replace(creative, image=None if "image" in slots else creative.image, **texts)


def _implied(only: Only) -> int:
    """Return what a part is bound to: shown there alone, it speaks of it."""
    bound = (
        (PLACE, only.countries),
        (WEATHER, only.weather),
        (HOUR, only.parts_of_day),
        (DEVICE, only.devices),
    )
    return sum(mask for mask, values in bound if values)


def _met(only: Only, context: Context, section: str) -> bool:
    weather, clock = context.weather, context.clock
    sky = {weather.condition, weather.temperature} if weather is not None else set()
    return (
        (not only.devices or context.device.cls in only.devices)
        and (not only.parts_of_day or clock.part in only.parts_of_day)
        and (not only.weekdays or clock.weekday in only.weekdays)
        and (not only.seasons or clock.season in only.seasons)
        and (not only.weather or not sky.isdisjoint(only.weather))
        and (not only.countries or context.place.country in only.countries)
        and (not only.publishers or context.publisher in only.publishers)
        and (not only.sections or section in only.sections)
    )
