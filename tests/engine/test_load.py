"""A file changes the catalogue as it says, or not at all and says why."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace
from PIL import Image

from engine import load, load_files
from engine.campaign import Advertiser, Campaign
from engine.change import Change
from engine.check.findings import Known, known_vocabularies
from engine.creative import Creative
from engine.errors import CatalogConflict, CatalogError, CatalogErrors
from engine.images import hosted_image
from engine.load import apply, plan
from engine.load_files import Values, open_source
from engine.store import SqliteStore, open_store

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KNOWN = Known(topics={"1", "492"}, products={"1007"})

ADVERTISER = {"kind": "advertiser", "id": "bikes", "name": "Bikes", "domains": ["bikes.example"]}
CAMPAIGN = {"kind": "campaign", "id": "ride", "advertiser": "bikes", "name": "Ride", "cpm_micros": 2_000_000}
NATIVE = {
    "kind": "creative", "id": "n1", "campaign": "ride", "format": "native",
    "landing_url": "https://bikes.example/", "headline": "Ride on",
}  # fmt: skip
BANNER = {
    "kind": "creative", "id": "b1", "campaign": "ride", "format": "banner", "size": [40, 20],
    "landing_url": "https://bikes.example/", "image": {"file": "rad.png", "alt": "A bike"},
}  # fmt: skip
KEY = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"  # RFC 8037, A.2
ISSUER = "https://daily.example"
TIME = "2026-01-02T00:00:00Z"
PUBLISHER = {"kind": "publisher", "id": "daily", "name": "Daily", "domains": ["daily.example"]}
GOOD = [NATIVE, PUBLISHER, CAMPAIGN, ADVERTISER]  # in any order


def png(size: tuple[int, int] = (40, 20), color: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    (tmp_path / "db").mkdir()
    store = open_store(f"sqlite:///{tmp_path}/db/tactful.db")
    yield store
    store.close()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    """A store for all that is refused: it stays empty."""
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('empty')}/tactful.db")
    yield store
    store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "rad.png").write_bytes(png())
    return folder


def ndjson(folder: Path, *records: object) -> Path:
    path = folder / "catalogue.ndjson"
    lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def yaml_file(folder: Path, text: str) -> Path:
    path = folder / "catalogue.yaml"
    path.write_text(text)
    return path


def load_file(store: SqliteStore, path: Path) -> list[Change]:
    with plan(open_source(path), store, KNOWN, NOW) as planned:
        apply(planned, store, "test", NOW)
        return list(planned.changes())


def errors_of(store: SqliteStore, path: Path) -> list[CatalogError]:
    before = store.versions()
    with pytest.raises(CatalogErrors) as refused:
        load_file(store, path)
    assert store.versions() == before
    assert store.journal() == []
    return list(refused.value.errors)


def stored(store: SqliteStore, id: str) -> Creative:
    found = store.find("creative", [id])[id]
    assert isinstance(found, Creative)
    return found


def test_a_file_in_any_order_is_loaded_whole(store: SqliteStore, folder: Path):
    changes = load_file(store, ndjson(folder, *GOOD))
    assert {(change.kind, change.id) for change in changes} == {
        ("creative", "n1"), ("publisher", "daily"), ("campaign", "ride"), ("advertiser", "bikes"),
    }  # fmt: skip
    assert stored(store, "n1").headline == "Ride on"


def test_a_dry_run_tells_old_and_new_and_changes_nothing(store: SqliteStore, folder: Path):
    load_file(store, ndjson(folder, *GOOD))
    before = store.versions()
    path = ndjson(
        folder,
        NATIVE,
        ADVERTISER,
        {**CAMPAIGN, "cpm_micros": 3, "targeting": {"devices": {"include": ["phone"]}}},
    )
    with plan(open_source(path), store, KNOWN, NOW) as planned:
        (change,) = planned.changes()
        assert (planned.created.total(), planned.changed.total(), planned.unchanged.total()) == (0, 1, 2)
    assert (change.line, change.kind, change.id) == (3, "campaign", "ride")
    assert change.fields() == [
        ("cpm_micros", 2_000_000, 3),
        ("targeting.devices.include", None, ("phone",)),
    ]
    assert store.versions() == before


def test_the_same_file_again_changes_nothing(store: SqliteStore, folder: Path):
    html = {
        **BANNER,
        "id": "b2",
        "image": None,
        "html": '<a href="https://bikes.example"><img src=rad.png alt=x></a>',
    }
    path = ndjson(folder, *GOOD, BANNER, html)
    load_file(store, path)
    before = store.versions()
    assert load_file(store, path) == []
    assert store.versions() == before


def test_every_error_is_told_with_line_field_value_and_expectation(store: SqliteStore, folder: Path):
    path = ndjson(
        folder,
        ADVERTISER,
        {
            **CAMPAIGN,
            "cpm_micros": "2",
            "status": "on",
            "name": 7,
            "targeting": {"topics": {"include": ["1", 2]}},
        },
        b"{broken",
        {**NATIVE, "landing_url": "http://bikes.example/", "headline": "<b>"},
        {"kind": "person", "id": "x"},
        b'"text"',
        {**NATIVE, "id": "n2", "campaign": "nowhere"},
        {**NATIVE, "id": "n3", "hedline": "x"},
        b"\xff\xfe",
        b"[" * 100_000,
        {"id": "y"},
        {"kind": ["campaign"], "id": "z"},
    )
    errors = errors_of(store, path)
    told = {(error.line, error.field) for error in errors}
    assert told == {
        (2, "cpm_micros"), (2, "status"), (2, "name"), (2, "targeting.topics.include[1]"), (3, "(line)"),
        (4, "landing_url"), (4, "headline"),
        (5, "kind"), (6, "(line)"), (7, "campaign"), (8, "(object)"),
        (9, "(line)"), (10, "(line)"), (11, "kind"), (12, "kind"),
    }  # fmt: skip
    by_place = {(error.line, error.field): error for error in errors}
    assert (by_place[2, "cpm_micros"].got, by_place[2, "cpm_micros"].expected) == ("'2'", "a whole number")
    assert by_place[2, "status"].expected == "one of active, paused"
    assert by_place[2, "targeting.topics.include[1]"].got == "2"
    assert by_place[8, "(object)"].got == "'hedline'" and by_place[8, "(object)"].unknown_field
    assert "headline" in by_place[8, "(object)"].expected


def test_errors_of_meaning_are_told_all_at_once(store: SqliteStore, folder: Path):
    path = ndjson(
        folder,
        ADVERTISER,
        CAMPAIGN,
        {**NATIVE, "landing_url": "http://bikes.example/", "headline": "<b>", "cta": "a\tb"},
    )
    assert [error.field for error in errors_of(store, path)] == ["landing_url", "headline", "cta"]


def test_a_malformed_field_hides_no_error_of_meaning(store: SqliteStore, folder: Path):
    path = ndjson(
        folder,
        PUBLISHER | {"domains": ["*"], "colour": "red", "timezone": 5},
        CAMPAIGN | {"cpm_micros": 1, "status": 7, "targeting": {"topics": {"include": ["nowhere"]}}},
        ADVERTISER,
        NATIVE | {"body": 5, "headline": "a < b", "landing_url": "http://bikes.example/", "size": "big"},
        NATIVE | {"id": 5, "headline": "a < b"},
    )
    assert [(error.line, error.field) for error in errors_of(store, path)] == [
        (1, "domains[0]"),
        (1, "(object)"),
        (1, "timezone"),
        (2, "targeting.topics.include[0]"),
        (2, "status"),
        (4, "body"),
        (4, "size"),
        (4, "landing_url"),
        (4, "headline"),
        (5, "id"),
    ]


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({**CAMPAIGN, "cpm_micros": 0}, "cpm_micros"),
        ({**CAMPAIGN, "house": True}, "cpm_micros"),
        ({**CAMPAIGN, "cpm_micros": -1}, "cpm_micros"),
        ({**CAMPAIGN, "cpm_micros": 1.5}, "cpm_micros"),
        ({**CAMPAIGN, "cpm_micros": 10**30}, "cpm_micros"),
        ({**CAMPAIGN, "id": "Ride"}, "id"),
        ({**CAMPAIGN, "id": "ride\n"}, "id"),
        ({**CAMPAIGN, "id": "../etc"}, "id"),
        ({**CAMPAIGN, "name": "a\x00b"}, "name"),
        ({**CAMPAIGN, "advertiser": "nobody"}, "advertiser"),
        ({**CAMPAIGN, "categories": ["9"]}, "categories[0]"),
        ({**CAMPAIGN, "keywords": [" "]}, "keywords[0]"),
        ({**CAMPAIGN, "keywords": ["İ" * 80]}, "keywords[0]"),  # longer in lower case
        ({**CAMPAIGN, "flight": {"start": "2026-01-02T00:00:00"}}, "flight.start"),
        ({**CAMPAIGN, "flight": {"start": TIME, "end": TIME}}, "flight.end"),
        ({**CAMPAIGN, "suitability": {"avoid": ["boredom"]}}, "suitability.avoid[0]"),
        ({**CAMPAIGN, "prefer": {"times": ["noon"]}}, "prefer.times[0]"),
        ({**CAMPAIGN, "prefer": {"devices": ["watch"]}}, "prefer.devices[0]"),
        ({**CAMPAIGN, "prefer": {"weather": ["frogs"]}}, "prefer.weather[0]"),
        *(
            ({**CAMPAIGN, "targeting": {name: {"include": [value]}}}, f"targeting.{name}.include[0]")
            for name, value in (
                ("topics", "2"), ("languages", "EN"), ("languages", "deu"), ("devices", "fridge"),
                ("platforms", "dos"), ("parts_of_day", "noon"), ("weekdays", "monday"), ("weather", "sun"),
                ("countries", "de"), ("countries", "DEU"), ("regions", "Berlin"), ("publishers", "Daily"),
                ("formats", "video"), ("keywords", "a\u202eb"), ("cohorts", "Priced"),
                ("journey_stages", "bought"), ("loyalty_tiers", "jane@mail.example"),
            )
        ),
        ({**CAMPAIGN, "targeting": {"sizes": {"include": [[0, 1]]}}}, "targeting.sizes.include[0][0]"),
        ({**CAMPAIGN, "targeting": {"topics": {"include": ["1"], "exclude": ["1"]}}},
         "targeting.topics.exclude"),
        *(
            ({**CAMPAIGN, "targeting": {"timezone": zone}}, "targeting.timezone")
            for zone in ("Mars/Base", "localtime", "../../etc/passwd", "/etc/passwd", "Europe", "", "a\0/b")
        ),
        ({**PUBLISHER, "timezone": "CEST"}, "timezone"),
        ({**PUBLISHER, "domains": ["https://daily.example"]}, "domains[0]"),
        ({**PUBLISHER, "domains": []}, "domains"),
        ({**PUBLISHER, "country": "Germany"}, "country"),
        ({**PUBLISHER, "country": "DE", "region": "FR-IDF"}, "region"),
        ({**PUBLISHER, "categories": {"cars": "car"}}, "categories['cars']"),
        ({**PUBLISHER, "block_categories": ["x"]}, "block_categories[0]"),
        ({**PUBLISHER, "rate_per_s": 0}, "rate_per_s"),
        ({**CAMPAIGN, "frequency_cap": 0}, "frequency_cap"),
        ({**CAMPAIGN, "frequency_cap": 256}, "frequency_cap"),
        ({**PUBLISHER, "issuers": {"daily.example": {"keys": [{"x": KEY}]}}}, "issuers"),
        *(
            ({**PUBLISHER, "issuers": {ISSUER: {"keys": keys}}}, f"issuers{place}")
            for keys, place in (
                ([{"x": KEY, "kid": "mine"}], f"['{ISSUER}'].keys[0].kid"),
                ([{"x": KEY}, {"x": KEY[:-1] + "p"}], f"['{ISSUER}'].keys[1].x"),
                ([{"x": KEY, "d": KEY}], "[...].keys[0]"),
                ([{"x": KEY, "alg": "EdDSA"}], "[...].keys[0].alg"),
                ([{"x": KEY, "kty": "RSA"}], "[...].keys[0].kty"),
                ([], "[...].keys"),
            )
        ),
        ({**ADVERTISER, "domains": ["bikes"]}, "domains[0]"),
        ({**ADVERTISER, "domains": [f"{'ü' * 50}.{'ü' * 20}.example"]}, "domains[0]"),  # longer in punycode
        ({**NATIVE, "headline": " "}, "headline"),
        ({**NATIVE, "headline": "x" * 91}, "headline"),
        ({**NATIVE, "html": "<p>x"}, "html"),
        ({**NATIVE, "size": [1, 1]}, "size"),
        ({**NATIVE, "language": "en-GB"}, "language"),
        ({**NATIVE, "format": "popup"}, "format"),
        ({**NATIVE, "image": {"alt": "x"}}, "image"),
        ({**NATIVE, "image": {"alt": "x", "file": "rad.png", "data": "AA=="}}, "image"),
        ({**NATIVE, "image": {"alt": " ", "file": "rad.png"}}, "image.alt"),
        ({**NATIVE, "image": {"alt": "##", "file": "rad.png"}}, "image.alt"),
        ({**NATIVE, "image": {"alt": "x", "data": "no base64!"}}, "image.data"),
        ({**NATIVE, "image": {"alt": "x", "data": base64.b64encode(b"<svg/>").decode()}}, "image.data"),
        ({**NATIVE, "image": {"alt": "x", "hash": "ab" * 32}}, "image.hash"),
        ({**NATIVE, "targeting": {"topics": {"include": ["2"]}}}, "targeting.topics.include[0]"),
        ({**BANNER, "size": None}, "size"),
        ({**BANNER, "size": [300, 250]}, "image"),
        ({**BANNER, "image": None}, "image"),
        ({**BANNER, "image": None, "html": "<script>x</script>"}, "html"),
        ({**BANNER, "html": "<img src=other.png alt=x>"}, "html <img src>"),
        ({**BANNER, "html": "<a href=https://evil.example>x</a>"}, "html <a href>"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused_by_field(empty: SqliteStore, folder: Path, record: dict, field: str):
    others = [good for good in (ADVERTISER, CAMPAIGN) if good["kind"] != record["kind"]]
    errors = errors_of(empty, ndjson(folder, *others, record))
    assert [(error.field, error.line) for error in errors] == [(field, len(others) + 1)]


def test_an_id_stands_once_in_a_file(store: SqliteStore, folder: Path):
    errors = errors_of(store, ndjson(folder, *GOOD, NATIVE, ADVERTISER))
    assert [(error.line, error.field) for error in errors] == [(5, "id"), (6, "id")]
    assert "line 1" in errors[0].expected and "line 4" in errors[1].expected


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"flight": {"start": "2026-02-30T00:00:00Z"}},
            "a date and time with an offset, such as 2026-11-23T18:00:00+01:00",
        ),
        (
            {"flight": {"end": "2026-12-24T18:00:00"}},
            "a date and time with an offset, such as 2026-11-23T18:00:00+01:00",
        ),
        ({"name": ""}, "text of length >= 1"),
        ({"cpm_micros": -1}, "a whole number >= 0"),
        ({"flight": 7}, "an object"),
        ({"keywords": "leek"}, "a list"),
    ],
)
def test_what_was_expected_is_told_in_words(store: SqliteStore, folder: Path, part: dict, expected: str):
    errors = errors_of(store, ndjson(folder, {**CAMPAIGN, **part}))
    assert [error.expected for error in errors] == [expected]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('{"kind": "advertiser", "id": "a", "name": "A", "domains": ["a.example"], "id": "b"}', "id"),
        (
            '{"kind": "advertiser", "id": "a", "name": "A", "n\\u0061me": "B", "domains": ["a.example"]}',
            "name",
        ),
        (
            '{"kind": "publisher", "id": "p", "name": "P", "domains": ["p.example"], "timezone": "Europe/Berlin",'
            ' "country": "DE", "first_party": {"cohorts": ["a"], "cohorts": ["b"]}}',
            "cohorts",
        ),
    ],
)
def test_a_name_stands_once_in_an_object(store: SqliteStore, folder: Path, line: str, field: str):
    (folder / "twice.ndjson").write_text("\n" + line + "\n")
    errors = errors_of(store, folder / "twice.ndjson")
    assert [(error.line, error.field, error.got) for error in errors] == [(2, field, "the field again")]


def test_what_refers_to_a_faulty_thing_is_not_told_off_for_it(store: SqliteStore, folder: Path):
    errors = errors_of(store, ndjson(folder, ADVERTISER, {**CAMPAIGN, "cpm_micros": "x"}, NATIVE))
    assert [error.field for error in errors] == ["cpm_micros"]
    errors = errors_of(store, ndjson(folder, {**ADVERTISER, "domains": ["x"]}, CAMPAIGN, NATIVE))
    assert [error.field for error in errors] == ["domains[0]"]


def test_more_errors_than_anyone_reads_are_counted(store: SqliteStore, folder: Path):
    path = ndjson(folder, *([{"kind": "x"}] * 1500))
    with pytest.raises(CatalogErrors, match="and at least 500 more") as refused:
        load_file(store, path)
    assert (len(refused.value.errors), refused.value.total) == (1000, 1500)


def test_a_line_without_end_is_refused_and_the_next_is_read(store: SqliteStore, folder: Path, monkeypatch):
    monkeypatch.setattr(load_files, "MAX_LINE", 1000)
    errors = errors_of(store, ndjson(folder, {**NATIVE, "body": "x" * 5000}, b"{"))
    assert [(error.line, error.field) for error in errors] == [(1, "(line)"), (2, "(line)")]
    assert "1000 bytes" in errors[0].got


def test_blank_lines_and_a_byte_order_mark_are_no_errors(store: SqliteStore, folder: Path):
    path = ndjson(folder, b"\xef\xbb\xbf" + json.dumps(ADVERTISER).encode(), b"", b"  ", CAMPAIGN)
    assert [change.line for change in load_file(store, path)] == [1, 4]


def test_a_campaign_keeps_its_advertiser(store: SqliteStore, folder: Path):
    load_file(store, ndjson(folder, *GOOD))
    other = {**ADVERTISER, "id": "shoes"}
    with pytest.raises(CatalogErrors, match="keeps its advertiser"):
        load_file(store, ndjson(folder, other, {**CAMPAIGN, "advertiser": "shoes"}))


def test_a_domain_in_use_is_not_taken_away(store: SqliteStore, folder: Path):
    load_file(store, ndjson(folder, *GOOD))
    moved = {**ADVERTISER, "domains": ["rad.example"]}
    with pytest.raises(CatalogErrors, match="creative n1 leads"):
        load_file(store, ndjson(folder, moved))
    load_file(store, ndjson(folder, moved, {**NATIVE, "landing_url": "https://rad.example/"}))
    assert stored(store, "n1").landing_url == "https://rad.example/"


def test_a_domain_to_which_a_banner_links_is_not_taken_away(store: SqliteStore, folder: Path):
    html = '<p>Hi <a href="https://rad.example/x">there</a></p>'
    both = {**ADVERTISER, "domains": ["bikes.example", "rad.example"]}
    load_file(store, ndjson(folder, both, CAMPAIGN, {**BANNER, "image": None, "html": html}))
    with pytest.raises(CatalogErrors, match=r"rad\.example, to which creative b1 leads"):
        load_file(store, ndjson(folder, ADVERTISER))


def test_what_is_stored_is_the_safe_form(store: SqliteStore, folder: Path):
    advertiser = {**ADVERTISER, "domains": ["Bücher.example", "BIKES.example"]}
    record = {
        **NATIVE, "landing_url": "HTTPS://shop.Bücher.example/ä", "keywords": ["  City   BIKE ", "city bike"],
        "image": {"file": "rad.png", "alt": "A bike", "w": 1, "h": 1},
    }  # fmt: skip
    load_file(store, ndjson(folder, advertiser, CAMPAIGN, record))
    kept = stored(store, "n1")
    assert kept.landing_url == "https://shop.xn--bcher-kva.example/%C3%A4"
    assert kept.keywords == ("city bike",)
    assert kept.image is not None and (kept.image.file, kept.image.w, kept.image.h) == (None, 40, 20)
    assert kept.image.name == f"{kept.image.hash}.png"
    assert hosted_image(store, kept.image.name) is not None


def test_what_fell_out_of_a_banner_is_told(store: SqliteStore, folder: Path):
    record = {**BANNER, "html": "<p onclick=x()>Hi <img src=image alt=x> <img src=rad.png alt=y></p>"}
    with plan(open_source(ndjson(folder, ADVERTISER, CAMPAIGN, record)), store, KNOWN, NOW) as planned:
        assert planned.warnings == ["line 3: creative b1: html: removed onclick of <p>"]
        apply(planned, store, "test", NOW)
    kept = stored(store, "b1")
    assert kept.html is not None and kept.image is not None
    assert kept.html.count(f'src="{kept.image.hash}.png"') == 2


@pytest.mark.parametrize("form", ["file", "data", "hash"])
def test_a_picture_comes_as_file_as_data_or_by_hash(store: SqliteStore, folder: Path, form: str):
    load_file(store, ndjson(folder, ADVERTISER, CAMPAIGN, BANNER))
    image = stored(store, "b1").image
    assert image is not None
    given = {"file": "rad.png", "data": base64.b64encode(png()).decode(), "hash": image.hash}[form]
    load_file(store, ndjson(folder, {**BANNER, "id": "b2", "image": {"alt": "x", form: given}}))
    assert stored(store, "b2").image == replace(image, alt="x")


def test_no_file_outside_the_folder_is_read(store: SqliteStore, folder: Path):
    outside = folder.parent / "secret.png"
    outside.write_bytes(png())
    os.symlink(outside, folder / "link.png")
    os.symlink(folder.parent, folder / "up")
    (folder / "sub").mkdir()
    os.mkfifo(folder / "pipe.png")
    names = ["../secret.png", str(outside), "link.png", "up/secret.png", "sub/../../secret.png", "", ".",
             "sub", "no.png", "a\0b.png", "pipe.png", "\ud800.png", "x" * 5000]  # fmt: skip
    records = [{**BANNER, "id": f"b{n}", "image": {"file": name, "alt": "x"}} for n, name in enumerate(names)]
    errors = errors_of(store, ndjson(folder, ADVERTISER, CAMPAIGN, *records))
    assert {error.line for error in errors} == set(range(3, 3 + len(names)))
    (folder / "sub" / "in.png").write_bytes(png())
    load_file(
        store, ndjson(folder, ADVERTISER, CAMPAIGN, {**BANNER, "image": {"file": "sub/in.png", "alt": "x"}})
    )


def test_a_plan_made_before_another_change_is_not_applied(store: SqliteStore, folder: Path):
    load_file(store, ndjson(folder, *GOOD))
    with plan(open_source(ndjson(folder, {**NATIVE, "headline": "Mine"})), store, KNOWN, NOW) as planned:
        theirs = Change(None, Advertiser("late", "Late", ("late.example",)))
        store.write([theirs], [], store.versions(), "other", NOW)
        with pytest.raises(CatalogConflict):
            apply(planned, store, "test", NOW)
    assert stored(store, "n1").headline == "Ride on"


def test_a_large_change_leaves_memory_and_arrives_whole(store: SqliteStore, folder: Path, monkeypatch):
    monkeypatch.setattr(load, "IN_MEMORY", 10_000)
    records = [{**NATIVE, "id": f"n{n}", "body": f"Text {n}"} for n in range(2500)]
    assert len(load_file(store, ndjson(folder, *records, CAMPAIGN, ADVERTISER))) == 2502
    assert stored(store, "n2499").body == "Text 2499"


# --- YAML ---

YAML = """\
kind: advertiser
id: bikes
name: Bikes
domains: [bikes.example]
---
- kind: campaign
  id: ride
  advertiser: bikes
  name: Ride
  cpm_micros: 2000000
  flight: {start: 2026-01-01T00:00:00+01:00, end: 2027-02-01T00:00:00+01:00}
  targeting:
    countries: {include: [NO, SE]}
    topics: {include: ["492"]}
- {kind: creative, id: n1, campaign: ride, format: native, headline: Yes, landing_url: 'https://bikes.example/'}
---
"""


def test_yaml_comes_as_documents_and_as_lists(store: SqliteStore, folder: Path):
    changes = load_file(store, yaml_file(folder, YAML))
    assert [(change.id, change.line) for change in changes] == [("bikes", 1), ("ride", 6), ("n1", 15)]
    campaign = store.find("campaign", ["ride"])["ride"]
    assert isinstance(campaign, Campaign) and campaign.flight.start is not None
    assert campaign.flight.start.isoformat() == "2026-01-01T00:00:00+01:00"
    assert campaign.targeting.countries.include == ("NO", "SE")
    assert stored(store, "n1").headline == "Yes"


def test_errors_in_yaml_name_the_line_of_their_object(store: SqliteStore, folder: Path):
    path = yaml_file(folder, YAML.replace('"492"', "492").replace("headline: Yes", "headline: '<b>'"))
    assert [(e.line, e.field) for e in errors_of(store, path)] == [
        (6, "targeting.topics.include[0]"),
        (15, "headline"),
    ]


BOMB = "a: &a [x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)},*{chr(97 + n)}]\n" for n in range(20)
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (BOMB, 2),
        ("kind: campaign\nid: !!python/object/apply:os.system ['true']\n", 2),
        ("!!python/name:os.system\n", 1),
        ("kind: [\n" + "[" * 100_000, 2),
        ("- " * 50_000 + "x", 1),
        ("kind: advertiser\nid: a\nid: b\n", 3),
        ("kind: 'open\n", 2),
        ("a: b: c\n", 1),
        ("\tkind: x\n", 1),
        ("a: \x00\n", 1),
        ("? [1, 2]\n: x\n", 1),
        ("just text\n", 1),
        ("- 7\n", 1),
        ("kind: &x advertiser\n<<: *x\n", 2),
    ],
)
def test_yaml_that_is_broken_or_hostile_is_refused_by_line(
    empty: SqliteStore, folder: Path, text: str, line: int
):
    assert [error.line for error in errors_of(empty, yaml_file(folder, text))] == [line]


def test_yaml_in_another_encoding_is_told_by_the_line_that_shows_it(empty: SqliteStore, folder: Path):
    path = folder / "old.yaml"
    path.write_bytes("- kind: advertiser\n  id: a\n  name: K\u00e4se\n".encode("latin-1"))
    (error,) = errors_of(empty, path)
    assert error.line == 3 and error.expected == "YAML in UTF-8"


def test_json_over_several_lines_is_asked_for_on_one(empty: SqliteStore, folder: Path):
    path = folder / "pretty.json"
    path.write_text('[\n  {"kind": "advertiser"}\n]\n')
    assert {error.expected for error in errors_of(empty, path) if error.field == "(line)"} == {
        "an object in JSON (UTF-8), whole on one line"
    }


def test_yaml_that_is_too_large_is_to_come_as_ndjson(store: SqliteStore, folder: Path, monkeypatch):
    monkeypatch.setattr(load_files, "MAX_YAML", 10)
    (error,) = errors_of(store, yaml_file(folder, YAML))
    assert error.field == "file" and "NDJSON" in error.expected


def test_a_file_of_another_kind_or_none_is_refused(folder: Path):
    (folder / "catalogue.xlsx").write_text("id\n")
    for path in (folder / "catalogue.xlsx", folder / "none.yaml", folder):
        with pytest.raises(CatalogErrors):
            open_source(path)


def test_values_at_hand_may_name_no_files(store: SqliteStore):
    with pytest.raises(CatalogErrors, match=r"image\.file"):
        plan(Values([ADVERTISER, CAMPAIGN, BANNER]), store, KNOWN, NOW)


@pytest.mark.parametrize(
    ("record", "field", "expected"),
    [
        (CAMPAIGN | {"id": "Ride"}, "id", "lower-case id, 1-64 characters"),
        (
            CAMPAIGN | {"targeting": {"hours": [{"start": "9:00", "end": "12:00"}]}},
            "targeting.hours[0].start",
            "hours and minutes, '06:30', from 00:00 to 24:00",
        ),
        (
            NATIVE | {"offer": {"price": "5,00", "currency": "EUR"}},
            "offer.price",
            "a number as text, with up to three digits behind a point: '12.50'",
        ),
    ],
)
def test_a_form_that_is_missed_is_told_in_words_and_not_as_a_pattern(empty, folder, record, field, expected):
    told = {error.field: error.expected for error in errors_of(empty, ndjson(folder, record))}
    assert told[field] == expected


@pytest.mark.parametrize(
    ("record", "field"),
    [
        (CAMPAIGN | {"targeting": {"countries": {"include": ["UK"]}}}, "targeting.countries.include[0]"),
        (CAMPAIGN | {"targeting": {"regions": {"exclude": ["DE-ZZ"]}}}, "targeting.regions.exclude[0]"),
        (
            CAMPAIGN | {"targeting": {"rule": {"none": [{"countries": ["XX"]}]}}},
            "targeting.rule.none[0].countries[0]",
        ),
        (
            NATIVE | {"parts": {"headlines": [{"id": "a", "text": "A", "only": {"countries": ["UK"]}}]}},
            "parts.headlines[0].only.countries[0]",
        ),
        (PUBLISHER | {"country": "UK"}, "country"),
        (PUBLISHER | {"country": "DE", "region": "DE-ZZ"}, "region"),
    ],
)
def test_countries_and_regions_that_there_are_not_are_refused(empty, folder, record, field):
    source = open_source(ndjson(folder, ADVERTISER, record))
    with pytest.raises(CatalogErrors) as caught, plan(source, empty, known_vocabularies(), NOW):
        pass
    assert [error.field for error in caught.value.errors if error.field != "campaign"] == [field]


def test_names_that_no_publisher_registered_are_told(store, folder):
    site = PUBLISHER | {
        "sections": [{"id": "sport", "prefix": "/sport"}],
        "first_party": {"cohorts": ["cooks"], "loyalty_tiers": ["gold"]},
    }
    rule = {"any": [{"sections": ["daily/sport"]}, {"none": [{"page_cohorts": ["daily/soups"]}]}]}
    campaign = CAMPAIGN | {
        "targeting": {
            "publishers": {"include": ["daily", "dayly"]},
            "cohorts": {"exclude": ["cooks", "bakers"]},
        }
    }
    creative = NATIVE | {"targeting": {"rule": rule, "loyalty_tiers": {"include": ["gold", "silver"]}}}
    with plan(
        open_source(ndjson(folder, ADVERTISER, campaign, creative, site)), store, KNOWN, NOW
    ) as planned:
        told = [one.partition(": nobody registered it")[0] for one in planned.warnings if "nobody" in one]
        apply(planned, store, "me", NOW)
    assert sorted(told) == [
        "line 2: campaign ride: cohort 'bakers'",
        "line 2: campaign ride: publisher 'dayly'",
        "line 3: creative n1: cohort of pages 'daily/soups'",
        "line 3: creative n1: loyalty tier 'silver'",
    ]
    with plan(open_source(ndjson(folder, campaign, creative)), store, KNOWN, NOW) as again:
        assert again.warnings == []


def test_holidays_that_no_publishers_country_has_are_told_with_the_nearest(store, folder):
    site = PUBLISHER | {"country": "DE", "region": "DE-BY"}
    rules = {
        "holidays": {
            "include": ["Chrismas Day", "christmas  day", "any"],
            "exclude": ["epiphany", "thanksgiving day"],
        }
    }
    campaign = CAMPAIGN | {"targeting": rules}
    with plan(open_source(ndjson(folder, ADVERTISER, campaign, site)), store, KNOWN, NOW) as planned:
        told = [one for one in planned.warnings if "holiday" in one]
    said = "no public holiday of a country of the publishers is called so in 2025 to 2027"
    assert told[0] == (
        f"line 2: campaign ride: holiday 'chrismas day': {said}; the nearest is 'christmas day': "
        "what asks for it can never match"
    )
    assert [one.partition(": no public")[0] for one in told[1:]] == [
        "line 2: campaign ride: holiday 'thanksgiving day'"
    ]
    with plan(open_source(ndjson(folder, ADVERTISER, campaign, PUBLISHER)), store, KNOWN, NOW) as planned:
        assert sum("which state no country" in one for one in planned.warnings) == 5


def test_what_parts_are_bound_to_and_nobody_registered_is_told(store, folder):
    site = PUBLISHER | {"sections": [{"id": "sport", "prefix": "/sport"}]}
    only = {"publishers": ["daily", "dayly"], "sections": ["sport", "other", "spott"]}
    creative = NATIVE | {"parts": {"headlines": [{"id": "a", "text": "Ride", "only": only}]}}
    with plan(
        open_source(ndjson(folder, ADVERTISER, CAMPAIGN, creative, site)), store, KNOWN, NOW
    ) as planned:
        told = [one.partition(": nobody")[0] for one in planned.warnings if "nobody" in one]
    assert told == ["line 3: creative n1: publisher 'dayly'", "line 3: creative n1: section 'spott'"]


def test_a_campaign_is_not_changed_so_that_a_creative_that_stays_can_never_run(store, folder):
    phones = NATIVE | {"targeting": {"devices": {"include": ["phone"]}}}
    plain = NATIVE | {"id": "n2", "headline": "For cooks"}
    with plan(open_source(ndjson(folder, ADVERTISER, CAMPAIGN, phones, plain)), store, KNOWN, NOW) as planned:
        apply(planned, store, "me", NOW)
    no_phones = CAMPAIGN | {"targeting": {"devices": {"exclude": ["phone"]}}}
    cooks = CAMPAIGN | {"targeting": {"cohorts": {"include": ["cooks"]}}}
    for changed, creative, part in (
        (no_phones, "n1", "its targeting, 'rules that contradict those of the campaign'"),
        (cooks, "n2", "its headline, 'For cooks'"),
    ):
        with pytest.raises(CatalogErrors) as caught, plan(Values([changed]), store, KNOWN, NOW):
            pass
        said = [(error.field, error.got) for error in caught.value.errors]
        assert said == [("targeting", f"what creative {creative} does not go with: {part}")]
    with plan(Values([no_phones, NATIVE]), store, KNOWN, NOW) as planned:  # beside the creative as it will be
        assert planned.changed == {"campaign": 1, "creative": 1}


PLAIN = """
- {kind: publisher, id: p, domains: [a.test, NO, 0x1F, 1e5, 1_000, 012, -0, 2.50, -1.5, true, True, ~, null, '5', "6"]}
- kind: creative
  parts:
    headlines: [{id: a, text: "{{ weather | long }}", id: b}]
  id: x
  id: y
-
- 1
---
kind: campaign
body: |
  two
  lines
? key
: {a: {b: {c: [[], {}, ""]}}}
"""


def test_yaml_is_built_as_it_is_parsed_as_pyyaml_composes_it(tmp_path, monkeypatch):
    def read(text: str) -> list[object]:
        (tmp_path / "c.yaml").write_text(text)
        return [
            (line, str(value) if isinstance(value, CatalogError) else repr(value))
            for line, value in open_source(tmp_path / "c.yaml")
        ]

    built = read(PLAIN)
    assert [line for line, _ in built] == [2, 3, 9, 11] and "line 5: id" in built[1][1]
    tagged = read(PLAIN + "...\n---\n!!str 5\n")  # what PyYAML's own constructor is for
    assert tagged == [*built, (19, "'5'")]
    monkeypatch.setattr(load_files, "_composed", None)
    assert read(PLAIN) == built
