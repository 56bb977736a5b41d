"""The demo's content: every line loads, every picture is there, every address is invented."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from contexts.context import CONDITIONS, PARTS_OF_DAY, SEASONS, SENSITIVE, TEMPERATURES, WEEKDAYS
from engine import demo
from engine.campaign import Advertiser, Campaign, Publisher
from engine.check.findings import known_vocabularies
from engine.creative import Creative, ImagePart
from engine.demo import draw
from engine.demo.canvas import PALETTES
from engine.demo.magazine import ASSEMBLED, read_articles, read_catalog
from engine.demo.scenes import CAMPAIGNS as SCENES
from engine.demo.scenes import PART_SCENES
from engine.load import plan
from engine.load_files import open_source
from engine.store.sqlite import SqliteStore
from privacy.visit import DEVICE_CLASSES, PLATFORMS

FOLDER = Path(demo.__file__).parent
NOW = datetime(2026, 11, 23, tzinfo=UTC)
CATALOG = read_catalog(FOLDER / "catalog.ndjson")
ARTICLES = read_articles(FOLDER / "articles")
ADVERTISERS = {entity.id: entity for entity in CATALOG if isinstance(entity, Advertiser)}
CAMPAIGNS = {entity.id: entity for entity in CATALOG if isinstance(entity, Campaign)}
CREATIVES = [entity for entity in CATALOG if isinstance(entity, Creative)]


def test_there_is_enough_to_choose_from():
    assert len(ARTICLES) >= 18
    assert len(ADVERTISERS) >= 24
    assert len(CREATIVES) >= 90
    sizes = Counter(creative.size for creative in CREATIVES if creative.format == "banner")
    assert set(sizes) == {(300, 250), (728, 90), (320, 100), (160, 600)}
    assert sum(creative.html is not None for creative in CREATIVES) >= 4


def test_ids_are_told_once_and_owners_exist():
    ids = Counter((type(entity).__name__, entity.id) for entity in CATALOG)
    assert ids.most_common(1)[0][1] == 1
    assert {campaign.advertiser for campaign in CAMPAIGNS.values()} == set(ADVERTISERS)
    assert {creative.campaign for creative in CREATIVES} == set(CAMPAIGNS)


def test_the_publisher_is_the_demo_on_this_machine_alone():
    (publisher,) = [entity for entity in CATALOG if isinstance(entity, Publisher)]
    assert publisher.id == "demo"
    assert set(publisher.domains) == {"127.0.0.1", "localhost"}


def test_every_advertiser_lives_where_nobody_can():
    assert all(domain.endswith(".example") for a in ADVERTISERS.values() for domain in a.domains)
    for creative in CREATIVES:
        domains = ADVERTISERS[CAMPAIGNS[creative.campaign].advertiser].domains
        assert any(creative.landing_url.startswith(f"https://{domain}/") for domain in domains)


def test_only_the_house_gives_its_places_away():
    assert [c.id for c in CAMPAIGNS.values() if c.house] == ["weathervane-house"]
    assert all((c.cpm_micros == 0) == c.house for c in CAMPAIGNS.values())


def test_preferences_and_rules_use_words_that_exist():
    times = {*PARTS_OF_DAY, *WEEKDAYS, *SEASONS, "weekend", "holiday"}
    weather = {*CONDITIONS, *TEMPERATURES}
    for campaign in CAMPAIGNS.values():
        rules = campaign.targeting
        assert set(campaign.prefer.devices) <= {*DEVICE_CLASSES, *PLATFORMS}
        assert set(campaign.prefer.times) <= times
        assert {*campaign.prefer.weather, *rules.weather.include} <= weather
        assert set(rules.parts_of_day.include) <= set(PARTS_OF_DAY)
        assert {*rules.weekdays.include, *rules.weekdays.exclude} <= set(WEEKDAYS)
        assert set(campaign.suitability.avoid or ()) <= set(SENSITIVE)


def test_every_picture_is_there_in_its_size_and_described():
    total = 0
    for creative in CREATIVES:
        if creative.image is None:
            assert creative.html
            continue
        assert creative.image.alt
        path = FOLDER / str(creative.image.file)
        total += path.stat().st_size
        with Image.open(path) as picture:
            assert picture.size == (creative.size or draw.NATIVE)
    for article in ARTICLES:
        path = draw.HEROES / f"{article.id}.webp"
        total += path.stat().st_size
        with Image.open(path) as picture:
            assert picture.size == draw.HERO
    assert total < 3_000_000


def test_the_advertisers_own_file_has_four_campaigns_and_forty_components_that_load(tmp_path: Path):
    with (
        closing(SqliteStore(tmp_path / "t.sqlite3")) as store,
        plan(open_source(ASSEMBLED), store, known_vocabularies(), NOW) as planned,
    ):
        assert planned.warnings == []
        assert dict(planned.created) == {"advertiser": 1, "campaign": 4, "creative": 4}
        made = [change.after for change in planned.changes()]
    parts = [p for one in made if isinstance(one, Creative) and one.parts for p in one.parts]
    assert len(parts) == 40
    for part in parts:
        if isinstance(part, ImagePart):
            assert (part.image.w, part.image.h) == draw.NATIVE


def test_no_picture_lies_about_unused():
    named = {creative.image.file for creative in CREATIVES if creative.image is not None}
    named |= {f"pictures/{name}.webp" for name in PART_SCENES}
    assert {f"pictures/{path.name}" for path in (FOLDER / "pictures").iterdir()} == named
    assert {path.stem for path in draw.HEROES.iterdir()} == {article.id for article in ARTICLES}


@pytest.mark.parametrize("campaign", ["kettleway-soup", "perigee-binoculars", "corridor-cats"])
def test_the_kept_pictures_are_those_that_the_code_draws(campaign: str):
    scene, palette = SCENES[campaign]
    drawn = draw.native(scene, PALETTES[palette])
    kept = next(c for c in CREATIVES if c.campaign == campaign and c.format == "native")
    assert kept.image is not None
    with Image.open(FOLDER / str(kept.image.file)) as picture:
        difference = ImageStat.Stat(ImageChops.difference(drawn, picture.convert("RGB")))
    assert max(difference.mean) < 4  # of 255: what WebP loses


def test_articles_have_the_length_of_articles_and_no_stray_marks():
    for article in ARTICLES:
        assert 350 <= len(article.text.split()) <= 700, article.id
        assert "*" not in article.text and "#" not in article.text, article.id
    assert Counter(article.kind for article in ARTICLES) >= Counter(ambiguous=6, sensitive=4)


def test_articles_cover_as_many_sections_as_were_promised():
    assert len({article.section for article in ARTICLES}) >= 15
