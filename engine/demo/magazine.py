"""The demo's magazine as it lies in files: its articles, and the catalogue of its advertisers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from engine.campaign import Advertiser, Campaign, Publisher
from engine.creative import Creative

Entity = Publisher | Advertiser | Campaign | Creative
HERE = Path(__file__).parent
CATALOG = HERE / "catalog.ndjson"
ASSEMBLED = HERE / "longacre.yaml"  # an advertiser's own file: `tactful load` brings it into the demo

Kind = Literal["plain", "ambiguous", "sensitive"]


@dataclass(frozen=True, slots=True)
class Span:
    """A run of words in one style."""

    text: str
    style: Literal["", "em", "strong"] = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A heading or a paragraph."""

    heading: bool
    spans: tuple[Span, ...]

    @property
    def text(self) -> str:
        """Return the words without their style."""
        return "".join(span.text for span in self.spans)


@dataclass(frozen=True, slots=True)
class Article:
    """One article. `note` says what a reader of the demo may expect to see on its page."""

    id: str
    title: str
    standfirst: str
    section: str
    author: str
    published: date
    scene: str  # of its picture
    kind: Kind
    note: str
    blocks: tuple[Block, ...]

    @property
    def text(self) -> str:
        """Return the body as plain text, blocks parted by blank lines."""
        return "\n\n".join(block.text for block in self.blocks)


def read_catalog(path: Path) -> tuple[Entity, ...]:
    """Read a catalogue in NDJSON, as `tactful load` takes it."""
    decoder = msgspec.json.Decoder(Entity)
    return tuple(map(decoder.decode, path.read_bytes().splitlines()))


def read_articles(folder: Path) -> tuple[Article, ...]:
    """Read every `*.md` of a folder, the newest first. The file's name is the article's id.

    A file is YAML front matter, then paragraphs and `## ` headings, with `*emphasis*` and `**strong**` words.
    """
    articles = [_article(path) for path in sorted(folder.glob("*.md"))]
    return tuple(sorted(articles, key=lambda article: article.published, reverse=True))


def _article(path: Path) -> Article:
    _, head, body = path.read_text(encoding="utf-8").split("---\n", 2)
    return Article(
        id=path.stem, blocks=tuple(map(_block, body.strip().split("\n\n"))), **yaml.safe_load(head)
    )


def _block(source: str) -> Block:
    heading = source.startswith("## ")
    text = " ".join(source.removeprefix("## ").split())
    spans = []
    for part in re.split(r"(\*\*[^*]+\*\*|\*[^*]+\*)", text):
        if part.startswith("**"):
            spans.append(Span(part[2:-2], "strong"))
        elif part.startswith("*"):
            spans.append(Span(part[1:-1], "em"))
        elif part:
            spans.append(Span(part))
    return Block(heading, tuple(spans))
