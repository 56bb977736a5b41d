"""What the checks know, where pictures come from, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, Protocol

from contexts.context import TopicId
from contexts.errors import FactError
from contexts.place import Atlas
from contexts.taxonomy import ad_products, content_taxonomy
from engine.errors import CatalogError
from engine.satisfiable import Effort
from privacy.visit import PlaceInput


@dataclass(frozen=True, slots=True)
class Known:
    """The closed vocabularies that are not in the code."""

    topics: Container[str]  # ids of IAB Content Taxonomy 3.1
    products: Container[str]  # ids of IAB Ad Product Taxonomy 2.0
    above: Callable[[str], tuple[str, ...]] = lambda topic: ()  # the topics above one
    is_place: Callable[[str], bool] = lambda code: True  # "DE" (ISO 3166-1) or "DE-BE" (ISO 3166-2)


@cache
def known_vocabularies() -> Known:
    """Return the IAB's taxonomies."""
    topics, atlas = content_taxonomy(), Atlas.load()

    def is_place(code: str) -> bool:
        country, _, region = code.partition("-")
        try:
            atlas.facts(PlaceInput(country, region or None))
        except FactError:
            return False
        return True

    return Known(topics, ad_products(), lambda topic: topics.ancestors(TopicId(topic)), is_place)


@dataclass(frozen=True, slots=True)
class Picture:
    """A hosted picture, or one that will be once the change is made."""

    hash: str
    ext: Literal["png", "jpg", "webp", "avif"]
    w: int
    h: int

    @property
    def name(self) -> str:
        """Return the name under which it is hosted."""
        return f"{self.hash}.{self.ext}"


class Pictures(Protocol):
    """Where a creative's pictures come from. Each method raises CatalogError where there is none."""

    def from_file(self, name: str, field: str, line: int) -> Picture:
        """Take in a file that lies beside the loaded one."""

    def from_base64(self, data: str, field: str, line: int) -> Picture:
        """Take in a picture that came with the creative."""

    def hosted(self, hash: str, field: str, line: int) -> Picture:
        """Find one that is hosted already."""


@dataclass(slots=True)
class Findings:
    """What was found at one object: errors that refuse it, warnings that are told."""

    line: int = 0
    effort: Effort = field(default_factory=Effort)  # of all objects that are checked together
    errors: list[CatalogError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def refuse(self, field: str, got: object, expected: str) -> None:
        """Note an error."""
        self.errors.append(CatalogError(field, shown(got), expected, self.line))

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Note the CatalogError that comes out of the block, and go on behind it."""
        try:
            yield
        except CatalogError as error:
            self.errors.append(error)


def shown(value: object) -> str:
    """Return a value as an error quotes it, in ASCII, cut at 80 characters."""
    text = ascii(value) if not isinstance(value, (dict, list, tuple)) else f"{type(value).__name__} {value!a}"
    return text if len(text) <= 80 else text[:79] + "..."
