"""One version of the catalogue, frozen: files that every worker maps, and the views of them that matching reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from contexts.context import EncoderId, Vector
from contexts.facets import SOFT_FACETS, WIDTHS, Facet, Layout, SoftFacet, stated
from engine.campaign import Condition, Prefer, Publisher
from engine.conditions import Conditions
from engine.enrich import focus
from engine.errors import SnapshotError
from engine.faiss_index import FaissIndex
from engine.index import Eligible, Index, Words
from engine.message import Kit, Mixer
from engine.pricing import Terms
from engine.targeting import Bitmaps, zones_of

FOREVER = np.iinfo(np.int64).max


class CampaignEntry(msgspec.Struct, frozen=True):
    """What matching needs of a campaign."""

    id: str
    advertiser: int  # index into Manifest.advertisers
    categories: tuple[str, ...]
    house: bool
    frequency_cap: int | None = None
    terms: Terms = Terms()
    behalf: str = ""  # the advertiser's name
    paid_by: str = ""  # who pays, where it is another
    guaranteed: bool = False
    share_cap: float | None = None
    separation: tuple[str, ...] = ()
    political: bool = False


class Manifest(msgspec.Struct, frozen=True):
    """What a snapshot's folder holds; the hashes tell damage from intent."""

    version: int
    encoder_id: EncoderId
    page_dim: int
    rows: int
    weights: dict[Facet, float]
    advertisers: tuple[str, ...]
    domains: tuple[tuple[str, ...], ...]  # of each of the advertisers
    campaigns: tuple[CampaignEntry, ...]
    publishers: tuple[Publisher, ...]
    prefers: tuple[Prefer, ...]
    rules: tuple[Condition, ...]  # the distinct nested ones
    phrases: tuple[str, ...]  # that rules or campaigns name, to be looked for in pages
    bitmaps: tuple[str, ...]
    turns: tuple[int, ...]  # seconds since 1970 at which an offer begins or ends, ascending
    hashes: dict[str, str]  # file name → sha256, hex


class _Id(msgspec.Struct):
    id: str


_FIRST = b'{"id":"'
_read_id = msgspec.json.Decoder(_Id).decode


@dataclass(frozen=True, slots=True)
class Record:
    """What is answered for a row: the JSON of a CreativeAnswer, and where a click leads."""

    creative: bytes
    click_url: str

    @property
    def id(self) -> str:
        """Return the creative's id, which stands first."""
        start = len(_FIRST)
        end = self.creative.find(b'"', start)
        told = self.creative[start:end]
        if self.creative.startswith(_FIRST) and b"\\" not in told:
            return told.decode()
        return _read_id(self.creative).id


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A version of the catalogue. Nothing in it changes; a newer one replaces it whole."""

    manifest: Manifest
    layout: Layout
    publishers: Mapping[str, Publisher]
    index: Index
    bitmaps: Bitmaps
    zones: tuple[str, ...]
    bid: NDArray[np.int64]  # (rows,) micro-units a thousand impressions
    floor: NDArray[np.int64]  # (rows,) the least floor that a placement must ask
    campaign: NDArray[np.int32]  # (rows,) index into manifest.campaigns
    advertisers: NDArray[np.int32]  # (campaigns,) index into manifest.advertisers
    prefer: NDArray[np.int32]  # (rows,) index into manifest.prefers
    start: NDArray[np.int64]  # (rows,) flight, seconds since 1970 UTC, inclusive
    end: NDArray[np.int64]  # (rows,) exclusive
    conditions: Conditions  # the nested rules
    id_hash: NDArray[np.uint64]  # (rows,) ascending
    id_row: NDArray[np.int64]  # (rows,) row of each id_hash
    floors: bool  # whether any row asks a floor
    caps: Mapping[str, int]  # frequency caps, by campaign
    separates: bool  # whether any campaign keeps competitors off its pages
    naming: tuple[int, ...]  # masks of what some creative's own copy names
    anchors: Vector  # (groups, page_dim) what is on offer; pages are drawn to it
    soft: Mapping[
        SoftFacet, Vector
    ]  # (prefers, width) what each preference suits; zero where it states nothing
    stated: NDArray[np.uint8]  # (prefers,) which facets each preference states
    native: NDArray[np.int16]  # (rows, NATIVE) what a native creative has
    stating: Mapping[int, Words]  # by such a mask: the rows whose preference states just these
    owners: Mapping[str, tuple[int, ...]]  # advertisers, by their domains and those above them
    offsets: NDArray[np.int64]  # (rows + 1,) into the records
    records: NDArray[np.uint8]
    kit_offsets: NDArray[np.int64]  # (rows + 1,) into the kits
    kits: NDArray[np.uint8]  # of the rows whose messages are put together, a Kit each
    part_vectors: Vector  # (parts, page_dim) of what the kits' parts say

    @property
    def version(self) -> int:
        """Version of the catalogue that this is."""
        return self.manifest.version

    @property
    def rows(self) -> int:
        """How many creatives."""
        return self.manifest.rows

    @property
    def house(self) -> Words:
        """Return the creatives of the house."""
        words: Words = self.bitmaps.words[self.bitmaps.names["house"]]
        return words

    @property
    def width(self) -> int:
        """Words a bitmap."""
        return -(-self.rows // 64)

    def focus(self, page: Vector) -> Vector:
        """Draw a page's vector to what is on offer."""
        return focus(page, self.anchors)

    def labels(self, row: int) -> tuple[str, ...]:
        """Return a row's labels of competitive separation."""
        return self.entry(row).separation

    def record(self, row: int) -> Record:
        """Return what is answered for a row."""
        data = self.records[self.offsets[row] : self.offsets[row + 1]].tobytes()
        at = data.index(b"\n")
        return Record(data[at + 1 :], data[:at].decode())

    @property
    def mixes(self) -> bool:
        """Say whether any creative's messages are put together."""
        return len(self.kits) > 0

    def mixer(self, row: int) -> Mixer | None:
        """Return a row's messages; None where it has but one."""
        data = self.kits[self.kit_offsets[row] : self.kit_offsets[row + 1]]
        if not len(data):
            return None
        kit = msgspec.msgpack.decode(data.tobytes(), type=Kit)
        parts = kit.creative.parts
        count = 0 if parts is None else len(list(parts))
        return Mixer(kit, self.part_vectors[kit.first : kit.first + count])

    def creative_id(self, row: int) -> str:
        """Return the id of a row's creative."""
        return self.record(row).id

    def entry(self, row: int) -> CampaignEntry:
        """Return the campaign of a row."""
        return self.manifest.campaigns[int(self.campaign[row])]

    def advertiser(self, row: int) -> str:
        """Return the advertiser's id of a row."""
        return self.manifest.advertisers[self.entry(row).advertiser]

    def owned(self, domains: Iterable[str]) -> tuple[str, ...]:
        """Return the ids of the advertisers of these domains, of domains below them, or of one that they are below."""
        found: set[int] = set()
        for domain in domains:
            name = domain.lower().rstrip(".")
            found.update(self.owners.get(name, ()))
            for above in _above(name):
                found.update(at for at in self.owners.get(above, ()) if above in self.manifest.domains[at])
        return tuple(self.manifest.advertisers[at] for at in sorted(found))

    def prefers(self, row: int) -> Prefer:
        """Return the soft preferences of a row."""
        return self.manifest.prefers[int(self.prefer[row])]

    def row_of(self, creative_id: str) -> int | None:
        """Return the row of a creative, or None."""
        wanted = id_hash(creative_id)
        at = int(np.searchsorted(self.id_hash, wanted))
        while at < self.rows and self.id_hash[at] == wanted:
            row = int(self.id_row[at])
            if self.creative_id(row) == creative_id:
                return row
            at += 1
        return None

    def running(self, now: datetime) -> Words:
        """Return the rows whose flight holds this moment."""
        second = int(now.timestamp())
        return Eligible.from_mask((self.start <= second) & (second < self.end)).words

    def next_change(self, now: datetime) -> int:
        """Return the next second at which some flight or offer starts or ends."""
        second = int(now.timestamp())
        later = [times[times > second] for times in (self.start, self.end, np.array(self.manifest.turns))]
        return min((int(t.min()) for t in later if t.size), default=int(FOREVER))


def id_hash(text: str) -> np.uint64:
    """Return 64 bits of BLAKE2b, by which rows are found."""
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


COLUMNS = {
    "bid": "<i8", "floor": "<i8", "campaign": "<i4", "prefer": "<i4", "start": "<i8", "end": "<i8",
    "anchors": "<f4", "id_hash": "<u8", "id_row": "<i8", "soft": "<f4", "offsets": "<i8", "records": "|u1",
    "bitmaps": "<u8", "native": "<i2", "rule": "<i4", "kit_offsets": "<i8", "kits": "|u1", "part_vectors": "<f4",
}  # fmt: skip
# Columns of `native`: characters of the texts, pixels of the picture; 0 where there is none.
NATIVE = ("headline", "body", "cta", "sponsored_by", "w", "h")


def open_snapshot(folder: Path, *, verify: bool = True) -> Snapshot:
    """Map a snapshot's files. With `verify`, each file's hash is checked first.

    Raises SnapshotError naming the file that is missing or damaged.
    """
    manifest = _manifest(folder)
    if verify:
        for name, expected in manifest.hashes.items():
            if file_hash(folder / name) != expected:
                raise SnapshotError(folder / name, "its bytes are not those that were written")
    columns: dict[str, NDArray[Any]] = {
        name: _column(folder / f"{name}.npy", dtype) for name, dtype in COLUMNS.items()
    }
    bitmaps = Bitmaps({name: at for at, name in enumerate(manifest.bitmaps)}, columns.pop("bitmaps"))
    return Snapshot(
        manifest=manifest,
        layout=Layout(manifest.page_dim),
        publishers={p.id: p for p in manifest.publishers},
        index=FaissIndex.open(folder / "index"),
        bitmaps=bitmaps,
        zones=zones_of(bitmaps),
        conditions=Conditions(manifest.rules, columns.pop("rule"), manifest.publishers),
        soft=(soft := _split(columns.pop("soft"))),
        stated=(masks := stated(soft)),
        stating={int(m): Eligible.from_mask(masks[columns["prefer"]] == m).words for m in np.unique(masks)},
        floors=bool(np.any(columns["floor"])),
        owners=_owners(manifest.domains),
        separates=any(c.separation for c in manifest.campaigns),
        naming=tuple(int(name.partition(":")[2]) for name in bitmaps.names if name.startswith("names:")),
        caps={c.id: c.frequency_cap for c in manifest.campaigns if c.frequency_cap is not None},
        advertisers=np.array([c.advertiser for c in manifest.campaigns], np.int32),
        **columns,
    )


def _owners(owned: Sequence[Sequence[str]]) -> dict[str, tuple[int, ...]]:
    found: dict[str, set[int]] = {}
    for at, domains in enumerate(owned):
        for domain in domains:
            for name in (domain, *_above(domain)):
                found.setdefault(name, set()).add(at)
    return {name: tuple(sorted(ats)) for name, ats in found.items()}


def _above(domain: str) -> list[str]:
    """Return the domains above one, down to two labels."""
    labels = domain.split(".")[-8:]
    return [".".join(labels[at:]) for at in range(1, len(labels) - 1)]


def _split(soft: Vector) -> dict[SoftFacet, Vector]:
    """Cut (prefers, SOFT_DIM) into a facet's columns each."""
    ends = np.cumsum([WIDTHS[f] for f in SOFT_FACETS])
    return dict(zip(SOFT_FACETS, np.split(soft, ends[:-1], axis=1), strict=True))


def file_hash(path: Path) -> str:
    """Return the sha256 of a file, hex."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SnapshotError(path, f"cannot be read ({error.strerror})") from error


def files_of(folder: Path) -> Sequence[str]:
    """Return the names of all files below a folder, relative to it, sorted."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def _manifest(folder: Path) -> Manifest:
    path = folder / "manifest.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise SnapshotError(path, f"cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotError(path, f"is not a manifest ({error})") from error


def _column(path: Path, dtype: str) -> NDArray[Any]:
    try:
        # A memory map cannot hold nothing, so an empty file is read.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SnapshotError(path, f"cannot be mapped ({error})") from error
    if array.dtype.str != dtype:
        raise SnapshotError(path, f"holds {array.dtype.str}, expected {dtype}")
    return np.asarray(array)
