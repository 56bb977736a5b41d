"""C2SP tlog-tiles: a tree and its entries as files that never change, 256 hashes or entries each."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from privacy.consent_log import MOST_LEAF_BYTES
from privacy.errors import LogError
from privacy.merkle import HASH_BYTES, Frontier, Nodes, complete_root, leaf_hash

WIDTH = 256  # hashes in a full tile
HEIGHT = 8  # levels of the tree from one level of tiles to the next: 2**8 hashes
ENTRIES = -1  # stands for a level: tiles of entries, not of hashes

_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9]|[1-5][0-9]|6[0-3])/(?P<number>(?:x[0-9]{3}/)*[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5]))?",
    re.ASCII,
)
_MOST_PARTS = 6  # of a tile's number: as many as 2**63 entries need


class Tile(NamedTuple):
    """Which tile: `number` counts from 0 in its level; `width` is below 256 for one that is not full yet."""

    level: int
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Return the path of its file below the log's prefix."""
        thousands, last = divmod(self.number, 1000)
        parts = [f"{last:03}"]
        while thousands:
            thousands, part = divmod(thousands, 1000)
            parts.insert(0, f"x{part:03}")
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{'entries' if self.level == ENTRIES else self.level}/{'/'.join(parts)}{partial}"

    @property
    def full(self) -> Tile:
        """Return the full tile that this one becomes."""
        return self._replace(width=WIDTH)

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Read a path in its one right spelling. Raises LogError."""
        match = _PATH.fullmatch(path)
        if match and path.count("/x") < _MOST_PARTS:
            level, width = match["level"], match["width"]
            number = int(re.sub("[x/]", "", match["number"]))
            tile = cls(ENTRIES if level == "entries" else int(level), number, int(width) if width else WIDTH)
            if tile.path == path:
                return tile
        raise LogError("tile: got no path of a tile")


# Returns the bytes of a tile of `width` hashes, cut from the full one where that has taken its place. Raises LogError.
ReadTile = Callable[[Tile], bytes]


def tile_nodes(size: int, read: ReadTile) -> Nodes:
    """Give the nodes of the tree of `size` leaves from its tiles. Each tile is read once: make one for each proof."""
    tiles: dict[tuple[int, int], bytes] = {}

    def node(level: int, number: int) -> bytes:
        tile_level, height = divmod(level, HEIGHT)
        tile_number, first = divmod(number << height, WIDTH)
        data = tiles.get((tile_level, tile_number))
        if data is None:
            width = min(WIDTH, (size >> HEIGHT * tile_level) - tile_number * WIDTH)
            data = read(Tile(tile_level, tile_number, width))
            if len(data) != width * HASH_BYTES:
                raise LogError(
                    f"tile {tile_level}/{tile_number}: got {len(data)} bytes, expected {width} hashes"
                )
            tiles[tile_level, tile_number] = data
        last = first + (1 << height)
        if last * HASH_BYTES > len(data):
            raise LogError(
                f"tile {tile_level}/{tile_number}: got {len(data) // HASH_BYTES} hashes, expected {last}"
            )
        return complete_root(
            [data[at : at + HASH_BYTES] for at in range(first * HASH_BYTES, last * HASH_BYTES, HASH_BYTES)]
        )

    return node


class TileBuilder:
    """Grows a tree by leaves and gives out its tiles as they fill."""

    def __init__(self) -> None:
        self._frontier = Frontier()
        self._rows: list[list[bytes]] = []  # the hashes of each level's last tile
        self._entries: list[bytes] = []

    @property
    def size(self) -> int:
        """Return the number of leaves."""
        return self._frontier.size

    def root(self) -> bytes:
        """Return the root of the tree as it stands."""
        return self._frontier.root()

    def append(self, leaf: bytes) -> list[tuple[Tile, bytes]]:
        """Add a leaf; return the tiles that it filled."""
        hash = leaf_hash(leaf)
        self._frontier.append(hash)
        self._entries.append(leaf)
        full: list[tuple[Tile, bytes]] = []
        if len(self._entries) == WIDTH:
            full.append((Tile(ENTRIES, self.size // WIDTH - 1), pack(self._entries)))
            self._entries = []
        level, count = 0, self.size
        while True:
            if level == len(self._rows):
                self._rows.append([])
            row = self._rows[level]
            row.append(hash)
            if len(row) < WIDTH:
                return full
            count >>= HEIGHT
            full.append((Tile(level, count - 1), b"".join(row)))
            hash = complete_root(row)
            row.clear()
            level += 1

    def partial(self) -> Iterator[tuple[Tile, bytes]]:
        """Yield the tiles that are not full, as the tree stands."""
        if self._entries:
            yield Tile(ENTRIES, self.size // WIDTH, len(self._entries)), pack(self._entries)
        for level, row in enumerate(self._rows):
            if row:
                yield Tile(level, (self.size >> HEIGHT * level) // WIDTH, len(row)), b"".join(row)

    def copy(self) -> TileBuilder:
        """Return a builder that grows apart from this one."""
        other = TileBuilder()
        other._frontier = self._frontier.copy()
        other._rows = [row.copy() for row in self._rows]
        other._entries = self._entries.copy()
        return other


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield every tile of a tree of `size` leaves, entries first, then level by level."""
    for level in (ENTRIES, *range(max(1, -(-size.bit_length() // HEIGHT)))):
        full, rest = divmod(size >> HEIGHT * max(level, 0), WIDTH)
        yield from (Tile(level, number) for number in range(full))
        if rest:
            yield Tile(level, full, rest)


def pack(entries: Iterable[bytes]) -> bytes:
    """Write entries as a bundle, each behind its length in 16 bits. Raises LogError."""
    parts = []
    for entry in entries:
        if len(entry) > MOST_LEAF_BYTES:
            raise LogError(f"entry: got {len(entry)} bytes, expected at most {MOST_LEAF_BYTES}")
        parts += [struct.pack(">H", len(entry)), entry]
    return b"".join(parts)


def unpack(bundle: bytes, count: int) -> list[bytes]:
    """Read the first `count` entries of a bundle, which ends with one. Raises LogError."""
    entries = []
    at = 0
    while at < len(bundle):
        length = int.from_bytes(bundle[at : at + 2])
        entry = bundle[at + 2 : at + 2 + length]
        if at + 2 > len(bundle) or len(entry) != length:
            raise LogError("bundle: ends within an entry")
        entries.append(entry)
        if len(entries) > WIDTH:
            raise LogError(f"bundle: got more than {WIDTH} entries")
        at += 2 + length
    if len(entries) < count:
        raise LogError(f"bundle: got {len(entries)} entries, expected {count}")
    return entries[:count]
