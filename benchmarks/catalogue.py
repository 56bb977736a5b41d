"""Big catalogues with the shape of real ones, put into a store through its own doors: `python -m benchmarks catalogue`.

Campaigns stand around topics of the taxonomy, creatives around their campaign, known pages around topics too;
their vectors are drawn there at random, in the encoder's space, and kept under the hashes of the texts, so that
building a snapshot encodes nothing. All else (rules, preferences, flights, bids) goes the usual way.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from contexts.context import (
    CONDITIONS,
    PARTS_OF_DAY,
    TEMPERATURES,
    WEEKDAYS,
    PageFacts,
    Topic,
    TopicId,
    Vector,
)
from contexts.encode import unit
from contexts.encoders import open_encoder
from contexts.facets import STANDING_WEIGHTS
from contexts.taxonomy import Taxonomy, content_taxonomy
from contexts.topic_vectors import TopicVectors
from engine.assemble import text_of
from engine.build import Recipe, text_hash
from engine.campaign import Advertiser, Campaign, Flight, Prefer, Publisher, Rule, Suitability, Targeting
from engine.catalog import Catalog
from engine.change import Change, Entity
from engine.config import KEY_PURPOSES, Config
from engine.creative import Creative, Image
from engine.demo import magazine
from engine.images import HostedImage, clean_image
from engine.services import VectorFiles
from engine.store import SqliteStore
from privacy.keyring import Keyring
from privacy.page_url import canonical
from privacy.visit import DEVICE_CLASSES, PLATFORMS

PUBLISHER = "bench-times"
HOST = "bench-times.example"
FOLDER = Path("tactful-data/benchmarks")
CREATIVES = 20  # of a campaign
CAMPAIGNS = 10  # of an advertiser
HOUSE = 12  # creatives of the publisher's own
RULE_SETS = 200
PREFERENCES = 60
PAGES = 2000  # known by their URL
SIZES = ((300, 250), (728, 90), (320, 100), (160, 600))
COUNTRIES = ("DE", "AT", "CH", "FR", "NL", "GB", "US")
SPREAD = 0.7  # length of the random part beside a topic's direction of 1
BATCH = 10_000
SINCE = datetime(2026, 1, 1, tzinfo=UTC)

T = TypeVar("T")


def main(argv: Sequence[str]) -> int:
    """Make the catalogues of these sizes where they are missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks catalogue", description=__doc__)
    parser.add_argument("rows", type=int, nargs="+", help="how many creatives")
    add_folder(parser)
    options = parser.parse_args(argv)
    for rows in options.rows:
        prepare(options.folder, rows)
    return 0


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Add the option of where catalogues are kept."""
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help=f"where catalogues and models are kept (default {FOLDER})"
    )


def prepare(folder: Path, rows: int) -> Config:
    """Return the settings of an installation with `rows` creatives below `folder`, making it where it is missing."""
    here = folder.absolute() / str(rows)
    config = Config(data_dir=here / "data", key_dir=here / "keys")
    if (here / "made").exists():
        return config
    shutil.rmtree(here, ignore_errors=True)
    config.data_dir.mkdir(parents=True)
    models = folder.absolute() / "models"
    models.mkdir(exist_ok=True)
    (config.data_dir / "models").symlink_to(models)
    started = time.perf_counter()
    encoder = open_encoder(models)
    taxonomy = content_taxonomy()
    topics = TopicVectors.build(encoder, taxonomy, VectorFiles(models / "vectors"))
    keyring = Keyring.open(config.key_dir, KEY_PURPOSES, random=secrets.token_bytes)
    store = SqliteStore(config.database)
    try:
        _fill(store, taxonomy, topics, rows)
        _know_pages(store, keyring, taxonomy, topics)
        filled = time.perf_counter()
        recipe = Recipe(encoder, topics, STANDING_WEIGHTS, lambda name: f"{config.base_url}/images/{name}")
        Catalog(store, recipe, config.data_dir / "snapshots", lambda: datetime.now(UTC))
    finally:
        store.close()
    built = time.perf_counter()
    (here / "made").write_text(f"{built - filled:.1f}")
    print(
        f"{rows:,} creatives: store filled in {filled - started:.0f} s, snapshot built in {built - filled:.0f} s"
    )
    return config


def page_url(number: int) -> str:
    """Return the URL of a known page, of PAGES."""
    return f"https://{HOST}/section-{number % 40}/article-{number}"


def _fill(store: SqliteStore, taxonomy: Taxonomy, topics: TopicVectors, rows: int) -> None:
    chance, directions = random.Random(rows), np.random.default_rng(rows)
    pictures = {size: _picture(size) for size in SIZES}
    campaigns = list(_campaigns(chance, taxonomy, -(-rows // CREATIVES)))
    advertisers = [
        Advertiser(id=f"advertiser-{n}", name=f"Advertiser {n}", domains=(f"advertiser-{n}.example",))
        for n in range(-(-len(campaigns) // CAMPAIGNS))
    ]
    own = Advertiser(id="house", name="Bench Times", domains=(HOST,))
    house = Campaign(
        id="house", advertiser="house", name="House", cpm_micros=0, house=True, suitability=_ANYWHERE
    )
    publisher = Publisher(
        id=PUBLISHER,
        name="Bench Times",
        domains=(HOST,),
        timezone="Europe/Berlin",
        country="DE",
        region="BE",
        rate_per_s=1_000_000,
    )
    about = np.array([_about(chance, len(taxonomy)) for _ in campaigns])
    centres = unit(topics.matrix[about[:, 0]] + 0.5 * topics.matrix[about[:, 1]])
    names = [node.name for node in taxonomy]

    def creatives() -> Iterator[Creative]:
        for n in range(rows):
            at = n // CREATIVES
            yield _creative(n, campaigns[at], names[about[at, 0]], pictures, chance)
        for n in range(HOUSE):
            yield _creative(n, house, "letters to the editor", pictures, chance)

    def entities() -> Iterator[Entity]:
        yield publisher
        yield from (own, *advertisers, house, *campaigns)
        yield from creatives()

    who = {a.id: a for a in (own, *advertisers)}
    which = {c.id: (at, c) for at, c in enumerate((*campaigns, house))}
    centres = np.concatenate((centres, topics.matrix[:1]))
    # The same draws again: the texts are needed before the store has them.
    state = chance.getstate()
    for part in _parts(creatives(), BATCH):
        hashes = []
        for creative in part:
            campaign = which[creative.campaign][1]
            hashes.append(text_hash(text_of(creative, campaign, who[campaign.advertiser])))
        vectors = _around(centres[[which[c.campaign][0] for c in part]], topics.matrix, directions)
        store.put_vectors(topics.encoder_id, dict(zip(hashes, vectors, strict=True)))
    chance.setstate(state)
    changes = (Change(None, entity) for entity in entities())
    store.write(changes, list(pictures.values()), store.versions(), "benchmark", SINCE)


def _know_pages(store: SqliteStore, keyring: Keyring, taxonomy: Taxonomy, topics: TopicVectors) -> None:
    """Keep PAGES pages as a publisher's server would have defined them."""
    chance, directions = random.Random(7), np.random.default_rng(7)
    ids = [node.id for node in taxonomy]
    about = [_about(chance, len(ids)) for _ in range(PAGES)]
    centres = unit(topics.matrix[[a for a, _ in about]] + 0.5 * topics.matrix[[b for _, b in about]])
    vectors = _around(centres, topics.matrix, directions)
    pages = []
    for number, (pair, vector) in enumerate(zip(about, vectors, strict=True)):
        found = tuple(Topic(TopicId(ids[at]), taxonomy.name(ids[at]), 0.8) for at in pair)
        content = hashlib.blake2b(page_url(number).encode(), digest_size=16).hexdigest()
        facts = PageFacts(
            content, topics.encoder_id, vector, found, language="en", suitability_known=True, better=True
        )
        pages.append(facts)
    now = datetime.now(UTC)  # what is older than TACTFUL_PAGE_DAYS is forgotten
    store.put_pages(pages, now)
    urls = [keyring.mac("page-url", canonical(page_url(number)).encode()).hex() for number in range(PAGES)]
    told = zip(urls, pages, strict=True)
    store.put_page_urls([(PUBLISHER, url, facts.content_hash) for url, facts in told], now)


_ANYWHERE = Suitability(avoid=(), accept_unknown=True)


def _campaigns(chance: random.Random, taxonomy: Taxonomy, count: int) -> Iterator[Campaign]:
    rules = [_rules(chance, taxonomy) for _ in range(RULE_SETS)]
    wishes = [_wishes(chance) for _ in range(PREFERENCES)]
    suits = (Suitability(), Suitability(accept_unknown=True), _ANYWHERE)
    for n in range(count):
        flight = (
            Flight()
            if chance.random() < 0.6
            else Flight(SINCE, SINCE + timedelta(days=chance.randint(365, 2000)))
        )
        yield Campaign(
            id=f"campaign-{n}",
            advertiser=f"advertiser-{n // CAMPAIGNS}",
            name=f"Campaign {n}",
            cpm_micros=chance.randint(300_000, 9_000_000),
            flight=flight,
            targeting=chance.choice(rules),
            prefer=chance.choice(wishes),
            suitability=chance.choice(suits),
        )


def _rules(chance: random.Random, taxonomy: Taxonomy) -> Targeting:
    """Draw rules as campaigns have them: two in five none, the others one to three."""
    if chance.random() < 0.4:
        return Targeting()
    tiers = [node.id for node in taxonomy if not taxonomy.ancestors(node.id)]
    drawn: dict[str, Rule] = {
        "topics": chance.choice(
            (Rule(include=tuple(chance.sample(tiers, 8))), Rule(exclude=tuple(chance.sample(tiers, 3))))
        ),
        "countries": Rule(include=("DE", *chance.sample(COUNTRIES[1:], 2))),
        "languages": Rule(include=("en", "de")),
        "devices": Rule(include=tuple(chance.sample(DEVICE_CLASSES, 2))),
        "platforms": Rule(exclude=(chance.choice(PLATFORMS),)),
        "parts_of_day": Rule(include=tuple(chance.sample(PARTS_OF_DAY, 3))),
        "weekdays": Rule(exclude=tuple(chance.sample(WEEKDAYS, 2))),
        "weather": Rule(exclude=(chance.choice(CONDITIONS),)),
        "keywords": Rule(exclude=(f"unwanted phrase {chance.randint(1, 50)}",)),
    }
    return Targeting(**{name: drawn[name] for name in chance.sample(sorted(drawn), chance.randint(1, 3))})  # type: ignore[arg-type]  # by name


def _wishes(chance: random.Random) -> Prefer:
    return Prefer(
        devices=tuple(chance.sample(DEVICE_CLASSES, chance.choice((0, 0, 1, 2)))),
        times=tuple(chance.sample((*PARTS_OF_DAY, *WEEKDAYS), chance.choice((0, 0, 1, 3)))),
        weather=tuple(chance.sample((*CONDITIONS, *TEMPERATURES), chance.choice((0, 0, 1, 2)))),
    )


def _creative(
    n: int,
    campaign: Campaign,
    about: str,
    pictures: dict[tuple[int, int], HostedImage],
    chance: random.Random,
) -> Creative:
    size = chance.choice(SIZES)
    native = chance.random() < 0.5
    picture = pictures[size]
    domain = HOST if campaign.house else f"{campaign.advertiser}.example"
    return Creative(
        id=f"{campaign.id}-creative-{n}",
        campaign=campaign.id,
        format="native" if native else "banner",
        landing_url=f"https://{domain}/offers/{n}",
        headline=f"Offer {n} of {campaign.name}: {about}"[:90],
        body=f"All that one needs for {about}, well made, delivered to the door within two days."[:300],
        cta="See the offer",
        image=Image(alt=f"What offer {n} looks like", hash=picture.hash, w=picture.w, h=picture.h),
        size=None if native else size,
    )


def _about(chance: random.Random, topics: int) -> tuple[int, int]:
    """Draw two topics, few of them often and most of them seldom, as in real catalogues."""
    first, second = (min(int(chance.paretovariate(0.6)) * 7919, 10**9) % topics for _ in range(2))
    return first, second


def _around(centres: Vector, topics: Vector, directions: np.random.Generator) -> Vector:
    """Return a unit vector near each of the (n, dim) centres, off it in directions in which real texts differ."""
    drawn = topics[directions.integers(0, len(topics), (3, len(centres)))] - topics.mean(axis=0)
    weights = directions.standard_normal((3, len(centres), 1)).astype(np.float32)
    return unit(centres + SPREAD * unit((drawn * weights).sum(axis=0)))


def _picture(size: tuple[int, int]) -> HostedImage:
    """Take one of the demo's pictures of that size."""
    name = "{}x{}".format(*size)
    path = min((magazine.HERE / "pictures").glob(f"*-{name}.webp"))
    return clean_image(path.read_bytes(), "image")


def _parts(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while part := list(islice(items, size)):
        yield part
