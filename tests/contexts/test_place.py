"""Place: country and region as stated, nothing finer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contexts.context import PlaceFacts
from contexts.errors import FactError
from contexts.place import Atlas, Point
from privacy.visit import PlaceInput

ATLAS = Atlas.load()


@pytest.mark.parametrize("region", ["BE", "DE-BE"])
def test_a_region_is_told_by_its_full_code(region):
    assert ATLAS.facts(PlaceInput("DE", region)) == PlaceFacts("DE", "DE-BE")


def test_a_place_that_is_not_stated_is_not_known():
    assert ATLAS.facts(PlaceInput()) == PlaceFacts()
    assert ATLAS.point(PlaceFacts()) is None


@pytest.mark.parametrize("country", ["de", "DEU", "XX", "ZZ", "", "D", "DE-BE", "DE\n", "日本", "EU"])
def test_what_is_no_country_is_refused_by_name(country):
    with pytest.raises(FactError) as caught:
        ATLAS.facts(PlaceInput(country))
    assert (caught.value.field, caught.value.got) == ("place.country", country)


@pytest.mark.parametrize(
    ("country", "region"),
    [
        ("DE", "XX"),
        ("DE", "be"),
        ("DE", ""),
        ("DE", "B E"),
        ("DE", "US-CA"),
        ("DE", "DE-DE-BE"),
        ("JP", "TOKYO"),
    ],
)
def test_what_is_no_region_of_its_country_is_refused_by_name(country, region):
    with pytest.raises(FactError) as caught:
        ATLAS.facts(PlaceInput(country, region))
    assert caught.value.field == "place.region"


def test_a_region_needs_its_country():
    with pytest.raises(FactError, match=r"place\.region"):
        ATLAS.facts(PlaceInput(None, "BE"))


@pytest.mark.parametrize(("country", "region"), [("FR", "75"), ("IT", "RM"), ("ES", "B"), ("GB", "LND")])
def test_departments_and_provinces_are_too_fine(country, region):
    with pytest.raises(FactError, match=r"place\.region"):
        ATLAS.facts(PlaceInput(country, region))


def test_where_no_regions_are_listed_a_well_formed_one_is_taken_and_its_country_stands_for_it():
    place = ATLAS.facts(PlaceInput("JP", "13"))
    assert place == PlaceFacts("JP", "JP-13")
    assert ATLAS.point(place) == ATLAS.point(PlaceFacts("JP"))


@given(st.text(max_size=6), st.none() | st.text(max_size=8))
def test_anything_is_either_a_place_or_refused(country, region):
    try:
        place = ATLAS.facts(PlaceInput(country, region))
    except FactError:
        return
    assert ATLAS.point(place) is not None


def test_points_are_no_finer_than_a_tenth_of_a_degree():
    places = [
        PlaceFacts(country, region) for country, region in (("DE", "DE-BY"), ("US", "US-CA"), ("NO", None))
    ]
    points = ATLAS.points(places)
    assert sorted(points) == ["DE", "DE-BY", "NO", "US", "US-CA"]
    for point in points.values():
        assert point == Point(round(point.latitude, 1), round(point.longitude, 1))


def test_every_country_of_the_iso_standard_is_known():
    """The list is that of the tz database, which takes it from ISO 3166-1."""
    from importlib import resources

    lines = resources.files("tzdata").joinpath("zoneinfo/iso3166.tab").read_text("utf-8").splitlines()
    countries = [line.split("\t")[0] for line in lines if not line.startswith("#")]
    assert len(countries) == 249
    for country in countries:
        point = ATLAS.point(ATLAS.facts(PlaceInput(country)))
        assert point is not None
        assert -90 <= point.latitude <= 90
        assert -180 <= point.longitude <= 180
