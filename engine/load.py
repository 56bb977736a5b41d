"""Files and objects into the catalogue: read, check, compare, and apply as one change or none.

A file is read twice (creatives may stand before what they belong to) and never held in memory; what it
changes waits in a temporary file until it is applied.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self, cast

import msgspec

from engine.campaign import Advertiser, Campaign, Publisher, Targeting
from engine.change import KINDS, Change, Entity, Kind, Versions, kind_of
from engine.check.campaign import check_campaign, check_ended, check_sold_to
from engine.check.conditions import check_possible
from engine.check.creative import check_beside, check_creative
from engine.check.findings import Findings, Known, Picture
from engine.check.form import parse, rest_of
from engine.check.offers import tell_over
from engine.check.publisher import check_advertiser, check_publisher
from engine.conditions import condition_of
from engine.creative import Creative, Parts
from engine.creative_safety import is_below, linked_hosts
from engine.errors import CatalogError, CatalogErrors
from engine.images import EXTENSIONS, MAX_BYTES, HostedImage, clean_image
from engine.json_names import repeated_name
from engine.load_files import Source
from engine.reach import ReleasedDay, last_released, told_of
from engine.registered import names_in, names_in_parts, unregistered
from engine.releases import last_closed
from engine.satisfiable import Effort
from privacy.budget import QueryId

MAX_KEPT = 1000  # errors and warnings kept; further lines are only counted where their form is wrong
BATCH = 1000  # creatives checked between two looks into the store
IN_MEMORY = 2**20  # bytes of changes kept in memory before they go to a temporary file


class LoadStore(Protocol):
    """What is changed."""

    def versions(self) -> Versions:
        """Return the counters that a change must find unmoved."""

    def find(self, kind: Kind, ids: Sequence[str]) -> dict[str, Entity]:
        """Return the entities of these ids that exist, by id."""

    def page(self, kind: Kind, after: str, limit: int, advertiser: str | None = None) -> list[Entity]:
        """Return up to `limit` entities with ids above `after`; with `advertiser`, only its own."""

    def creatives_of(self, advertiser: str) -> Iterator[Creative]:
        """Stream every creative of an advertiser."""

    def released(self, query: QueryId) -> bytes | None:
        """Return the body of a release, None where there is none."""

    def image_sizes(self, hashes: Sequence[str]) -> dict[str, tuple[str, int, int]]:
        """Return (media type, width, height) in pixels of the hosted pictures among these."""

    def write(
        self,
        changes: Iterable[Change],
        images: Iterable[HostedImage],
        expected: Versions,
        actor: str,
        now: datetime,
    ) -> Versions:
        """Apply all in one transaction, or raise CatalogConflict where the counters moved."""


@dataclass(slots=True)
class Plan:
    """What loading would change: a dry run prints it, `apply` does it. Close it, or use it in `with`."""

    expected: Versions
    created: Counter[Kind] = field(default_factory=Counter)
    changed: Counter[Kind] = field(default_factory=Counter)
    unchanged: Counter[Kind] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    _changes: IO[bytes] = field(default_factory=lambda: tempfile.SpooledTemporaryFile(IN_MEMORY))
    _images: IO[bytes] = field(default_factory=lambda: tempfile.SpooledTemporaryFile(IN_MEMORY))
    _places: dict[str, tuple[str, int, int, int, int]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Say whether the catalogue says all of it already."""
        return not self.created and not self.changed

    def changes(self) -> Iterator[Change]:
        """Yield what is created or changed, in the order of the file; unchanged things are only counted."""
        self._changes.seek(0)
        for data in self._changes:
            row = _ROWS.decode(data)
            yield Change(row.before, row.after, row.line)

    def images(self) -> Iterator[HostedImage]:
        """Yield the pictures that came in."""
        for hash, (mime, w, h, start, length) in self._places.items():
            self._images.seek(start)
            yield HostedImage(hash, mime, w, h, self._images.read(length))

    def close(self) -> None:
        """Drop what was held."""
        self._changes.close()
        self._images.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _add(self, before: Entity | None, after: Entity, line: int) -> None:
        counts = self.created if before is None else self.unchanged if before == after else self.changed
        counts[kind_of(after)] += 1
        if before != after:
            self._changes.write(msgspec.json.encode(_Row(line, before, after)) + b"\n")

    def _add_image(self, image: HostedImage) -> None:
        if image.hash not in self._places:
            start = self._images.seek(0, 2)
            self._images.write(image.data)
            self._places[image.hash] = (image.mime, image.w, image.h, start, len(image.data))

    def _image(self, hash: str) -> tuple[str, int, int] | None:
        place = self._places.get(hash)
        return None if place is None else place[:3]


class _Row(msgspec.Struct, array_like=True):
    line: int
    before: Entity | None
    after: Entity | None


_ROWS = msgspec.json.Decoder(_Row)


def plan(source: Source, store: LoadStore, known: Known, now: datetime) -> Plan:
    """Check every object and compare it with the catalogue, as of now. Changes nothing.

    Raises CatalogErrors with all that is wrong.
    """
    made = Plan(expected=store.versions())
    try:
        _Planner(source, store, known, now, made).run()
    except BaseException:
        made.close()
        raise
    return made


def apply(plan: Plan, store: LoadStore, actor: str, now: datetime) -> Versions:
    """Make the planned change as a whole.

    Raises CatalogConflict where the catalogue changed since the plan was made: plan again.
    """
    if plan.is_empty:
        return plan.expected
    return store.write(plan.changes(), plan.images(), plan.expected, actor, now)


_FIELD = re.compile(
    r"[.\[ ]"
)  # what ends a field's own name in "targeting.topics", "domains[0]", "html <img>"


class _Planner:
    """One reading of a source against a store."""

    def __init__(self, source: Source, store: LoadStore, known: Known, now: datetime, plan: Plan) -> None:
        self.source = source
        self.store = store
        self.known = known
        self.now = now
        self.plan = plan
        self.pictures = _Pictures(source.folder, store, plan)
        self.effort = Effort()
        self.errors: list[CatalogError] = []
        self.total = 0
        self.owners: dict[Kind, dict[str, tuple[Entity, int]]] = {
            "publisher": {},
            "advertiser": {},
            "campaign": {},
        }
        self.lines: dict[Kind, dict[str, int]] = {kind: {} for kind in KINDS}
        self._day: list[ReleasedDay | None] = []  # once it was looked for
        self._all_publishers: dict[str, Publisher] | None = None
        self.broken: set[tuple[Kind, str]] = set()  # faulty themselves: what refers to them is not told off

    def run(self) -> None:
        self._read_owners()
        self._add_owners()
        creatives = self._read_creatives()
        while batch := list(islice(creatives, BATCH)):
            self._add_creatives(batch)
        self._check_dropped_domains()
        self._check_kept_creatives()
        if self.total:
            raise CatalogErrors(sorted(self.errors, key=lambda error: error.line), self.total)

    def _read_owners(self) -> None:
        for line, data in self.source:
            if isinstance(data, CatalogError):
                continue  # told on the second reading
            entity, errors = parse(data, line, thorough=False)
            if errors and not isinstance(data, bytes):
                self._note_broken(data)
            elif errors:
                self._note_broken(_quiet_json(cast(bytes, data)))
            if errors and not self.is_full:
                entity, wrong = rest_of(data)
                if entity is not None and not isinstance(entity, Creative):
                    found = Findings(line, self.effort)
                    self._checked(entity, found)
                    self._tell_rest(found, wrong)
                continue
            if entity is None or isinstance(entity, Creative) or not self._is_first(entity, line):
                continue
            if self.is_full:
                continue
            found = Findings(line, self.effort)
            kind = kind_of(entity)
            entity = self._checked(entity, found)
            self._tell(kind, entity.id, found)
            if not found.errors:
                self.owners[kind][entity.id] = (entity, line)

    def _checked(
        self, entity: Publisher | Advertiser | Campaign, found: Findings
    ) -> Publisher | Advertiser | Campaign:
        if isinstance(entity, Publisher):
            return check_publisher(entity, self.known, found)
        if isinstance(entity, Advertiser):
            return check_advertiser(entity, found)
        return check_campaign(entity, self.known, found)

    def _tell_rest(self, found: Findings, wrong: frozenset[str]) -> None:
        """Tell what is wrong in the fields that are well-formed, of an object in which others (`wrong`) are not."""
        for error in found.errors:
            if _FIELD.split(error.field, maxsplit=1)[0] not in wrong:
                self._refuse(error)

    def _add_owners(self) -> None:
        campaigns = cast("dict[str, tuple[Campaign, int]]", self.owners["campaign"])
        stored_advertisers = self.store.find(
            "advertiser", sorted({campaign.advertiser for campaign, _ in campaigns.values()})
        )
        for kind, owned in self.owners.items():
            stored = self.store.find(kind, list(owned))
            for id, (entity, line) in owned.items():
                before = stored.get(id)
                if isinstance(entity, Campaign):
                    self._check_owner(entity, before, stored_advertisers, line)
                    found = Findings(line, self.effort)
                    check_ended(entity, before if isinstance(before, Campaign) else None, self.now, found)
                    if entity.political:
                        check_sold_to(entity, self._publishers(), found)
                    if before != entity:
                        self._tell_names(entity.targeting, found)
                        self._tell_reach(entity, found)
                    self._tell(kind, id, found)
                self._add(before, entity, line)

    def _tell_names(self, targeting: Targeting, found: Findings, parts: Parts | None = None) -> None:
        """Say which names of rules, and of what parts of messages are bound to, no publisher registered."""
        said = condition_of(targeting, whole=True)
        named = [*(names_in(said) if said is not None else ()), *(names_in_parts(parts) if parts else ())]
        if named and not found.errors:
            found.warnings += unregistered(named, list(self._publishers().values()), self.now.year)

    def _tell_reach(self, campaign: Campaign, found: Findings) -> None:
        """Say how many page groups of the last released day a campaign's rules could match."""
        said = condition_of(campaign.targeting, whole=True)
        if found.errors or said is None:
            return
        if not self._day:
            self._day.append(last_released(self.store, last_closed(self.now), self.known.above))
        told = told_of(said, self._day[0], self.known.above)
        if told is not None:
            found.warnings.append(told)

    def _publishers(self) -> dict[str, Publisher]:
        """Return all publishers as they will be."""
        if self._all_publishers is None:
            found: list[Publisher] = []
            while page := self.store.page("publisher", found[-1].id if found else "", BATCH):
                found += cast("list[Publisher]", page)
            loaded = cast("dict[str, tuple[Publisher, int]]", self.owners["publisher"])
            self._all_publishers = {one.id: one for one in found} | {
                id: one for id, (one, _) in loaded.items()
            }
        return self._all_publishers

    def _check_owner(
        self, campaign: Campaign, before: Entity | None, stored: dict[str, Entity], line: int
    ) -> None:
        owner = campaign.advertiser
        if owner not in stored and owner not in self.owners["advertiser"]:
            if ("advertiser", owner) not in self.broken:
                expected = "the id of an advertiser, in this file or in the catalogue"
                self._refuse(CatalogError("advertiser", ascii(owner), expected, line))
        if isinstance(before, Campaign) and before.advertiser != owner:
            expected = f"{before.advertiser!r}: a campaign keeps its advertiser; make a new one"
            self._refuse(CatalogError("advertiser", ascii(owner), expected, line))

    def _read_creatives(self) -> Iterator[tuple[Creative, int, frozenset[str]]]:
        """Yield each creative with its line and the names of its malformed fields, which are told and left out."""
        for line, data in self.source:
            if isinstance(data, CatalogError):
                self._refuse(data)
                continue
            full = self.is_full  # the file is refused: what is left is counted by its form alone
            entity, errors = parse(data, line, thorough=not full)
            if not errors and isinstance(data, bytes) and (name := repeated_name(data)) is not None:
                errors = [CatalogError(ascii(name)[1:-1][:80], "the field again", "each field once", line)]
            for error in errors:
                self._refuse(error)
            wrong: frozenset[str] = frozenset()
            if entity is None and not full:
                entity, wrong = rest_of(data)
            if isinstance(entity, Creative) and (wrong or self._is_first(entity, line)) and not full:
                yield entity, line, wrong

    def _add_creatives(self, batch: list[tuple[Creative, int, frozenset[str]]]) -> None:
        own = cast("dict[str, tuple[Campaign, int]]", self.owners["campaign"])
        wanted = sorted({creative.campaign for creative, *_ in batch} - own.keys())
        campaigns = cast("dict[str, Campaign]", self.store.find("campaign", wanted))
        campaigns |= {
            creative.campaign: own[creative.campaign][0] for creative, *_ in batch if creative.campaign in own
        }
        named = {campaign.advertiser for campaign in campaigns.values()}
        advertisers = cast("dict[str, Advertiser]", self.store.find("advertiser", sorted(named)))
        loaded = cast("dict[str, tuple[Advertiser, int]]", self.owners["advertiser"])
        advertisers |= {id: loaded[id][0] for id in named if id in loaded}
        stored = self.store.find("creative", [creative.id for creative, *_ in batch])
        for creative, line, wrong in batch:
            campaign = campaigns.get(creative.campaign)
            if campaign is None:
                if ("campaign", creative.campaign) not in self.broken:
                    expected = "the id of a campaign, in this file or in the catalogue"
                    self._refuse(CatalogError("campaign", ascii(creative.campaign), expected, line))
            owner = None if campaign is None else advertisers.get(campaign.advertiser)
            domains = None if owner is None else owner.domains  # None: that was told above, or at the owner
            found = Findings(line, self.effort)
            creative = check_creative(creative, domains, self.pictures, self.known, found)
            if campaign is not None:
                check_beside(creative, campaign, found)
            if wrong:
                self._tell_rest(found, wrong)
                continue
            if campaign is not None and not found.errors and creative.targeting != Targeting():
                check_possible(
                    campaign.targeting, creative.targeting, self.known.above, found.refuse, self.effort
                )
            if stored.get(creative.id) != creative:
                self._tell_names(creative.targeting, found, creative.parts)
                tell_over(creative, self.now, found)
            self._tell("creative", creative.id, found)
            if domains is not None and not found.errors:
                self._add(stored.get(creative.id), creative, line)

    def _add(self, before: Entity | None, after: Entity, line: int) -> None:
        # Lower case and punycode can be longer than what came, and what is stored must be readable again.
        _, errors = parse(msgspec.json.encode(after), line)
        for error in errors:
            self._refuse(error)
        if not errors:
            self.plan._add(before, after, line)

    def _check_dropped_domains(self) -> None:
        """Refuse to take away a domain to which creatives outside this file still lead."""
        own = cast("dict[str, tuple[Advertiser, int]]", self.owners["advertiser"])
        for id, before in cast("dict[str, Advertiser]", self.store.find("advertiser", list(own))).items():
            after, line = own[id]
            if set(before.domains) <= set(after.domains):
                continue
            for creative in self.store.creatives_of(id):
                if creative.id in self.lines["creative"]:
                    continue  # checked against the new domains
                astray = [host for host in linked_hosts(creative) if not is_below(host, after.domains)]
                if astray:
                    expected = f"a domain for {astray[0]}, to which creative {creative.id} leads"
                    self._refuse(CatalogError("domains", ascii(list(after.domains)), expected, line))
                    break

    def _check_kept_creatives(self) -> None:
        """Refuse to change a campaign so that a creative outside this file can never run, or must not, beside it."""
        own = cast("dict[str, tuple[Campaign, int]]", self.owners["campaign"])
        stored = cast("dict[str, Campaign]", self.store.find("campaign", list(own)))
        changed = {
            id
            for id, before in stored.items()
            if (before.targeting, before.political) != (own[id][0].targeting, own[id][0].political)
        }
        for advertiser in sorted({own[id][0].advertiser for id in changed}):
            for creative in self.store.creatives_of(advertiser):
                if creative.campaign not in changed or creative.id in self.lines["creative"]:
                    continue
                campaign, line = own[creative.campaign]
                found = Findings(line, self.effort)
                check_beside(creative, campaign, found)
                if not found.errors and creative.targeting != Targeting():
                    check_possible(
                        campaign.targeting, creative.targeting, self.known.above, found.refuse, self.effort
                    )
                for error in found.errors:
                    got = f"what creative {creative.id} does not go with: its {error.field}, {error.got}"
                    self._refuse(CatalogError("targeting", got, error.expected, line))

    def _is_first(self, entity: Entity, line: int) -> bool:
        lines = self.lines[kind_of(entity)]
        if entity.id in lines:
            expected = f"an id once: line {lines[entity.id]} has it, too"
            self._refuse(CatalogError("id", ascii(entity.id), expected, line))
            return False
        lines[entity.id] = line
        return True

    def _note_broken(self, value: object) -> None:
        if isinstance(value, dict) and isinstance(value.get("id"), str):
            self.broken.update((kind, value["id"]) for kind in KINDS if value.get("kind") == kind)

    def _tell(self, kind: Kind, id: str, found: Findings) -> None:
        for error in found.errors:
            self._refuse(error)
        if found.errors:
            self.broken.add((kind, id))
        where = f"line {found.line}: " if found.line else ""
        for warning in found.warnings[: MAX_KEPT - len(self.plan.warnings)]:
            self.plan.warnings.append(f"{where}{kind} {id}: {warning}")

    @property
    def is_full(self) -> bool:
        return self.total >= MAX_KEPT

    def _refuse(self, error: CatalogError) -> None:
        self.total += 1
        if len(self.errors) < MAX_KEPT:
            self.errors.append(error)


class _Pictures:
    """The pictures that a source names, taken into its plan."""

    def __init__(self, folder: Path | None, store: LoadStore, plan: Plan) -> None:
        self.folder = None if folder is None else folder.resolve()
        self.store = store
        self.plan = plan
        self.done: dict[bytes, Picture] = {}  # by the digest of the file as it came: it is encoded once

    def from_file(self, name: str, field: str, line: int) -> Picture:
        if self.folder is None:
            raise CatalogError(field, ascii(name[:80]), "data (base64), or hash: there is no folder", line)
        expected = "a file in the folder of the loaded file, or below it"
        try:
            path = (self.folder / name).resolve()
            if not path.is_relative_to(self.folder) or not path.is_file():
                raise CatalogError(field, ascii(name[:80]), expected, line)
            with path.open("rb") as file:
                return self._take(file.read(MAX_BYTES + 1), field, line)
        except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name, a loop of links, no rights
            raise CatalogError(field, ascii(name[:80]), expected, line) from error

    def from_base64(self, data: str, field: str, line: int) -> Picture:
        try:
            return self._take(base64.b64decode(data, validate=True), field, line)
        except (binascii.Error, ValueError) as error:
            raise CatalogError(field, "no base64", "a picture in base64", line) from error

    def hosted(self, hash: str, field: str, line: int) -> Picture:
        found = self.plan._image(hash) or self.store.image_sizes([hash]).get(hash)
        if found is None:
            raise CatalogError(field, ascii(hash[:80]), "the hash of a hosted picture", line)
        mime, w, h = found
        return Picture(hash, EXTENSIONS[mime], w, h)

    def _take(self, data: bytes, field: str, line: int) -> Picture:
        digest = hashlib.sha256(data).digest()
        if digest not in self.done:
            image = clean_image(data, field, line)
            self.plan._add_image(image)
            self.done[digest] = Picture(image.hash, EXTENSIONS[image.mime], image.w, image.h)
        return self.done[digest]


def _quiet_json(data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return None
