"""Building a snapshot: the store's rows, encoded, compiled and written to a folder, whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from math import ceil, floor
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from contexts.context import SENSITIVE, TopicId, Vector
from contexts.encode import Encoder
from contexts.facets import SOFT_FACETS, WIDTHS, Layout, Weights, prefer_blocks
from contexts.keyphrases import listed
from contexts.page_vector import WHOLE
from contexts.taxonomy import ad_products
from contexts.topic_vectors import TopicVectors
from engine import faiss_build
from engine.assemble import asset_of, creative_answer, political_answer, text_of
from engine.campaign import Advertiser, Campaign, Condition, Prefer, Publisher, Size
from engine.change import Approval, Kind, Versions
from engine.conditions import asks_consent, both, condition_of, walk
from engine.creative import Creative, Offer
from engine.decision import Assets
from engine.enrich import offer, topical
from engine.errors import IndexFileError
from engine.governor import copy_of, group_words, groups_named, topics_named
from engine.message import Kit, default_names, seconds_of, words_of
from engine.offers import prices_of
from engine.pricing import terms_of, value_of
from engine.snapshot import (
    FOREVER,
    NATIVE,
    CampaignEntry,
    Manifest,
    file_hash,
    files_of,
    id_hash,
)
from engine.targeting import Mask, RuleSet, compile_rules, pack, rule_of

log = logging.getLogger(__name__)

ENCODE_BATCH = 4096
FORMAT = 9  # of the files; a newer program makes its own
MOST_PHRASES = 20_000  # more would make reading a page and starting slow


class Reader(Protocol):
    """One consistent state of the catalogue, however long it is read. Rows come in batches, in the order of ids."""

    def versions(self) -> Versions:
        """Return the counters of this state."""

    def publishers(self) -> Iterator[tuple[Publisher, ...]]:
        """Yield all publishers."""

    def advertisers(self) -> Iterator[tuple[Advertiser, ...]]:
        """Yield all advertisers."""

    def campaigns(self) -> Iterator[tuple[Campaign, ...]]:
        """Yield all campaigns."""

    def creatives(self) -> Iterator[tuple[Creative, ...]]:
        """Yield all creatives."""

    def approvals(self) -> Iterator[tuple[Approval, ...]]:
        """Yield what publishers said of creatives."""

    def paused(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the ids of the paused campaigns and creatives."""

    def changed_since(self, catalog: int) -> list[tuple[Kind, str]]:
        """Return (kind, id) of what changed in catalogue versions above `catalog`, statuses aside."""


class BuildStore(Protocol):
    """What building reads of the store, and the vectors that it keeps there."""

    def read(self) -> AbstractContextManager[Reader]:
        """Open one consistent state."""

    def vectors(self, encoder_id: str, hashes: Iterable[str]) -> Mapping[str, Vector]:
        """Return the kept vectors of these texts' hashes."""

    def put_vectors(self, encoder_id: str, vectors: Mapping[str, Vector]) -> None:
        """Keep vectors by their texts' hashes."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a snapshot is made with, besides the store's rows."""

    encoder: Encoder
    topics: TopicVectors  # of the same encoder
    weights: Weights  # standing weights of the facets
    image_url: Callable[[str], str]  # where a picture is hosted, by its name

    @property
    def digest(self) -> str:
        """Name what besides the rows a snapshot depends on, so that one made otherwise is not taken for it."""
        said = (
            FORMAT,
            self.encoder.id,
            sorted(self.weights.items()),
            self.image_url("name"),
            self.encoder.dim,
        )
        return hashlib.blake2b(repr(said).encode(), digest_size=6).hexdigest()


def build(store: BuildStore, recipe: Recipe, folder: Path, previous: Path | None = None) -> None:
    """Write the snapshot of the store's present version to `folder`; a failure leaves nothing behind.

    `previous` is the folder of an earlier snapshot, whose index is refreshed instead of trained anew.
    """
    making = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    try:
        _write(store, recipe, making, previous)
        os.replace(making, folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _write(store: BuildStore, recipe: Recipe, folder: Path, previous: Path | None) -> None:
    encoder, weights = recipe.encoder, recipe.weights
    with store.read() as reader:
        version = reader.versions().catalog
        publishers = tuple(chain.from_iterable(reader.publishers()))
        advertisers = list(chain.from_iterable(reader.advertisers()))
        campaigns = list(chain.from_iterable(reader.campaigns()))
        rows = _Rows(advertisers, campaigns, publishers, recipe.image_url)
        for creative in chain.from_iterable(reader.creatives()):
            rows.add(creative)

    layout = Layout(encoder.dim)
    own = _vectors(store, encoder, rows.texts)
    part_vectors = _vectors(store, encoder, rows.part_texts)
    offered = offer(topical(own, recipe.topics.matrix), [advertisers[at].id for at in rows.advertiser])
    prefer = np.array(rows.prefer, np.int32)
    blocks = [prefer_blocks(p.devices, p.times, p.weather) for p in rows.prefers]
    soft = {f: np.array([b[f] for b in blocks], np.float32).reshape(-1, WIDTHS[f]) for f in SOFT_FACETS}
    vectors = layout.creatives(offered.creatives, {f: soft[f][prefer] for f in SOFT_FACETS}, weights)
    (folder / "index").mkdir()
    # All facets of a query may be present; pages resemble what is offered on them.
    ones = {f: np.ones(WIDTHS[f], np.float32) for f in SOFT_FACETS}
    chance = np.random.default_rng(faiss_build.SEED)
    some = offered.creatives[chance.permutation(len(vectors))[: faiss_build.QUERIES]]
    asked = faiss_build.Asked(
        weights=layout.query(np.ones(encoder.dim, np.float32), ones, weights),
        queries=layout.typical(some, weights, chance),
    )
    try:
        if previous is None:
            faiss_build.build(vectors, folder / "index", asked)
        else:
            faiss_build.refreshed(previous / "index", vectors, folder / "index", asked)
    except IndexFileError:
        if previous is None:
            raise
        log.warning("index not refreshed: the earlier one cannot be read, so a new one is trained")
        shutil.rmtree(folder / "index")
        (folder / "index").mkdir()
        faiss_build.build(vectors, folder / "index", asked)

    bitmaps = compile_rules(rows.rules, np.array(rows.rule, np.int32), SENSITIVE)
    masks = rows.masks()
    own_words = pack(masks, len(rows.ids))
    hashes = np.array([id_hash(i) for i in rows.ids], np.uint64)
    order = np.argsort(hashes, kind="stable")
    columns: dict[str, NDArray[Any]] = {
        "bid": np.array(rows.bid, np.int64),
        "floor": np.array(rows.floor, np.int64),
        "campaign": np.array(rows.campaign, np.int32),
        "prefer": prefer,
        "rule": np.array(rows.condition, np.int32),
        "start": np.array(rows.start, np.int64),
        "end": np.array(rows.end, np.int64),
        "id_hash": hashes[order],
        "id_row": order.astype(np.int64),
        "anchors": offered.anchors,
        "soft": np.concatenate([soft[f] for f in SOFT_FACETS], axis=1),
        "offsets": np.array(rows.offsets, np.int64),
        "records": np.frombuffer(bytes(rows.records), np.uint8),
        "native": np.array(rows.native, np.int16).reshape(-1, len(NATIVE)),
        "kit_offsets": np.array(rows.kit_offsets, np.int64),
        "kits": np.frombuffer(bytes(rows.kits), np.uint8),
        "part_vectors": part_vectors,
        "bitmaps": np.concatenate([bitmaps.words, own_words.words]),
    }
    for name, column in columns.items():
        np.save(folder / f"{name}.npy", column, allow_pickle=False)
    manifest = Manifest(
        version=version,
        encoder_id=encoder.id,
        page_dim=encoder.dim,
        rows=len(rows.ids),
        weights={f: float(w) for f, w in weights.items()},
        advertisers=tuple(a.id for a in advertisers),
        domains=tuple(a.domains for a in advertisers),
        campaigns=tuple(rows.entries),
        publishers=publishers,
        prefers=tuple(rows.prefers),
        rules=tuple(rows.conditions),
        phrases=_phrases(campaigns, rows.rules),
        bitmaps=(*bitmaps.names, *own_words.names),
        turns=tuple(sorted(rows.turns)),
        hashes={name: file_hash(folder / name) for name in files_of(folder)},
    )
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    log.info("catalogue built", extra={"version": version, "creatives": len(rows.ids)})


class _Rows:
    """The columns while they grow, a creative at a time."""

    def __init__(
        self,
        advertisers: Sequence[Advertiser],
        campaigns: Sequence[Campaign],
        publishers: Sequence[Publisher],
        image_url: Callable[[str], str],
    ) -> None:
        signals = (value for one in publishers for _, value in one.first_party.pairs(()))
        self._groups = frozenset(map(group_words, signals))
        self._advertisers = {a.id: (at, a) for at, a in enumerate(advertisers)}
        self._campaigns = {c.id: (at, c) for at, c in enumerate(campaigns)}
        self._image_url = image_url
        self.entries = [
            CampaignEntry(
                c.id,
                self._advertisers[c.advertiser][0],
                c.categories,
                c.house,
                c.frequency_cap,
                terms_of(c),
                self._advertisers[c.advertiser][1].name,
                c.paid_by,
                c.guaranteed,
                c.share_cap,
                c.separation,
                c.political,
            )
            for c in campaigns
        ]
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.campaign: list[int] = []
        self.advertiser: list[int] = []
        self.bid: list[int] = []
        self.floor: list[int] = []
        self.start: list[int] = []
        self.end: list[int] = []
        self.allowed: list[bool] = []
        self.house: list[bool] = []
        self.kinds: list[tuple[str, ...]] = []  # "native", or the sizes of a banner
        self.named: list[int] = []  # masks of what its own copy names
        self.topics: list[frozenset[str]] = []  # Article 9 categories whose topic its own copy names
        self.groups: list[frozenset[str]] = []  # groups of consenting readers whose name its own copy holds
        self.rules: list[RuleSet] = []
        self.rule: list[int] = []
        self.conditions: dict[Condition, int] = {}  # nested rules, by what they say
        self.condition: list[int] = []
        self.prefers: list[Prefer] = []
        self.prefer: list[int] = []
        self.native: list[tuple[int, ...]] = []
        self.records = bytearray()
        self.offsets = [0]
        self.kits = bytearray()
        self.kit_offsets = [0]
        self.part_texts: list[str] = []
        self.turns: set[int] = set()
        self._rule_at: dict[RuleSet, int] = {}
        self._prefer_at: dict[Prefer, int] = {}

    def add(self, creative: Creative) -> None:
        at, campaign = self._campaigns[creative.campaign]
        who, advertiser = self._advertisers[campaign.advertiser]
        rules = RuleSet(campaign.targeting, creative.targeting, campaign.suitability)
        creative = _in_sizes(creative, rules)
        prefer = creative.prefer or campaign.prefer
        if rules not in self._rule_at:
            self._rule_at[rules] = len(self.rules)
            self.rules.append(rules)
        if prefer not in self._prefer_at:
            self._prefer_at[prefer] = len(self.prefers)
            self.prefers.append(prefer)
        answer = creative_answer(creative, campaign, advertiser, self._image_url)
        flight = campaign.flight
        self.ids.append(creative.id)
        self.texts.append(text_of(creative, campaign, advertiser))
        self.campaign.append(at)
        self.advertiser.append(who)
        self.bid.append(value_of(campaign))
        self.floor.append(
            max(campaign.targeting.min_floor_micros or 0, creative.targeting.min_floor_micros or 0)
        )
        offer = creative.offer or Offer()
        # In whole seconds, none of which lies outside of what was said.
        starts = [ceil(at.timestamp()) for at in (flight.start, offer.start) if at is not None]
        ends = [floor(at.timestamp()) for at in (flight.end, offer.end) if at is not None]
        self.start.append(max(starts, default=0))
        self.end.append(min(ends, default=FOREVER))
        asks = campaign.political and asks_consent(campaign.targeting, creative.targeting)
        self.allowed.append(_own_kind_allowed(creative, rules) and offer.stock != 0 and not asks)
        self.house.append(campaign.house)
        self.kinds.append(_kinds(creative))
        self.named.append(default_names(creative))
        copy = copy_of(creative)
        self.topics.append(topics_named(copy))
        self.groups.append(groups_named(copy, self._groups))
        self.rule.append(self._rule_at[rules])
        said = both(campaign.targeting, creative.targeting)
        self.condition.append(-1 if said is None else self.conditions.setdefault(said, len(self.conditions)))
        self.prefer.append(self._prefer_at[prefer])
        self.native.append(_native(answer.assets))
        self.records += creative.landing_url.encode() + b"\n" + msgspec.json.encode(answer)
        self.offsets.append(len(self.records))
        self._add_kit(creative, campaign, advertiser)

    def _add_kit(self, creative: Creative, campaign: Campaign, advertiser: Advertiser) -> None:
        if creative.parts is not None:
            pictures = {p.id: asset_of(p.image, self._image_url) for p in creative.parts.images}
            kit = Kit(
                creative,
                campaign.id,
                advertiser.id,
                creative.sponsored_by or advertiser.name,
                asset_of(creative.image, self._image_url),
                {id: asset for id, asset in pictures.items() if asset is not None},
                len(self.part_texts),
                advertiser.name,
                campaign.paid_by,
                political_answer(campaign),
                prices_of(creative),
            )
            self.kits += msgspec.msgpack.encode(kit)
            self.part_texts += [words_of(part) for part in creative.parts]
            for offer in creative.parts.offers:
                self.turns.update(second for second in seconds_of(offer) if second is not None)
        self.kit_offsets.append(len(self.kits))

    def masks(self) -> dict[str, Mask]:
        """Return the bitmaps that are not rules over a context: allowed at all, of the house, of a size, a category."""
        masks: dict[str, Mask] = {
            "allowed": np.array(self.allowed, bool),
            "house": np.array(self.house, bool),
        }
        for kind in sorted({kind for kinds in self.kinds for kind in kinds}):
            masks[f"kind:{kind}"] = np.array([kind in kinds for kinds in self.kinds], bool)
        for named in sorted(set(self.named) - {0}):
            masks[f"names:{named}"] = np.array([mask == named for mask in self.named], bool)
        for category in sorted(frozenset().union(*self.topics)):
            masks[f"speaks:{category}"] = np.array([category in topics for topics in self.topics], bool)
        for group in sorted(frozenset().union(*self.groups)):
            masks[f"mentions:{group}"] = np.array([group in groups for groups in self.groups], bool)
        campaign = np.array(self.campaign, np.int32)
        for name, entries in (
            ("political", [entry.political for entry in self.entries]),
            ("guaranteed", [entry.guaranteed for entry in self.entries]),
        ):
            if any(entries):
                masks[name] = np.array(entries, bool)[campaign]
        within = [_with_above(entry.categories) for entry in self.entries]
        for category in sorted(frozenset().union(*within)):
            masks[f"category:{category}"] = np.array([category in one for one in within], bool)[campaign]
        return masks


def _with_above(categories: Iterable[str]) -> frozenset[str]:
    """Return categories of products with those above them: who blocks one blocks its whole subtree."""
    products = ad_products()
    above = (products.ancestors(TopicId(one)) for one in categories if one in products)
    return frozenset(categories).union(*above)


def _native(assets: Assets) -> tuple[int, ...]:
    """Return what is in a creative's assets, in the order of NATIVE."""
    image = assets.image
    texts = (assets.headline, assets.body, assets.cta, assets.sponsored_by)
    return (*map(len, texts), *((image.w, image.h) if image else (0, 0)))


def _kinds(creative: Creative) -> tuple[str, ...]:
    """Return what a creative can be shown as."""
    if creative.format == "native" or not creative.sizes:
        return ("native",)
    return tuple("{}x{}".format(*size) for size in creative.sizes)


def _in_sizes(creative: Creative, rules: RuleSet) -> Creative:
    """Return a creative with those of its sizes alone that the size rules leave; where they leave none, as it is."""
    left = [size for size in creative.sizes if _is_size_allowed(size, rules)]
    if creative.parts is None or not left or len(left) == len(creative.sizes):
        return creative
    return replace(creative, size=left[0], parts=replace(creative.parts, sizes=tuple(left[1:])))


def _is_size_allowed(size: Size, rules: RuleSet) -> bool:
    return all(
        size not in rule.exclude and (not rule.include or size in rule.include)
        for rule in (rules.campaign.sizes, rules.creative.sizes)
    )


def _own_kind_allowed(creative: Creative, rules: RuleSet) -> bool:
    """Say whether a creative's own format and size meet the format and size rules."""
    for targeting in (rules.campaign, rules.creative):
        formats = targeting.formats
        if creative.format in formats.exclude or (formats.include and creative.format not in formats.include):
            return False
    return creative.size is None or _is_size_allowed(creative.size, rules)


def _phrases(campaigns: Sequence[Campaign], rules: Sequence[RuleSet]) -> tuple[str, ...]:
    """Return all phrases that rules name, then as many of the campaigns' own keywords as there is room for."""
    ruled = {
        phrase
        for rule_set in rules
        for targeting in (rule_set.campaign, rule_set.creative)
        for words in (rule_of(targeting, "keywords"),)
        for phrase in (*words.include, *words.exclude)
    }
    ruled |= {
        listed(phrase)
        for rule_set in rules
        for targeting in (rule_set.campaign, rule_set.creative)
        if (said := condition_of(targeting)) is not None
        for part in walk(said)
        for phrase in (*part.keywords, *(sense.word for sense in part.senses))
    }
    own = sorted({listed(phrase) for campaign in campaigns for phrase in campaign.keywords} - ruled)
    return (*sorted(ruled), *own[: max(0, MOST_PHRASES - len(ruled))])


def text_hash(text: str) -> str:
    """Return the key under which a text's vector is kept: 32 hex digits over it and how much of it is read."""
    return hashlib.blake2b(f"{WHOLE}\0{text}".encode(errors="replace"), digest_size=16).hexdigest()


def _vectors(store: BuildStore, encoder: Encoder, texts: Sequence[str]) -> Vector:
    """Return (len(texts), dim) vectors, encoding only those texts whose vectors are not kept."""
    hashes = [text_hash(text) for text in texts]
    result = np.zeros((len(texts), encoder.dim), np.float32)
    missing: dict[str, list[int]] = {}
    for start in range(0, len(texts), ENCODE_BATCH):
        part = range(start, min(start + ENCODE_BATCH, len(texts)))
        kept = store.vectors(encoder.id, [hashes[i] for i in part])
        for i in part:
            vector = kept.get(hashes[i])
            if vector is None:
                missing.setdefault(hashes[i], []).append(i)
            else:
                result[i] = vector
    waiting = list(missing.items())
    for start in range(0, len(waiting), ENCODE_BATCH):
        part_of = waiting[start : start + ENCODE_BATCH]
        made = encoder.encode([texts[rows[0]] for _, rows in part_of], tokens=WHOLE)
        for (_, rows), vector in zip(part_of, made, strict=True):
            result[rows] = vector
        store.put_vectors(encoder.id, {h: v for (h, _), v in zip(part_of, made, strict=True)})
    return result
