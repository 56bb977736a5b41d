"""Clock: what an instant is in a zone and a place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import groupby
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contexts.clock import Clock, daylight, holidays_near, names_of, part_of_day, season
from contexts.context import DAYLIGHTS, WEEKDAYS, PlaceFacts
from contexts.errors import FactError
from contexts.place import Atlas, PlaceCode, Point

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BERLIN = PlaceFacts("DE", "DE-BE")
BAVARIA = PlaceFacts("DE", "DE-BY")
NOWHERE = PlaceFacts()


@pytest.fixture(scope="module")
def clock():
    clock = Clock(Atlas.load())
    clock.prepare([BERLIN, BAVARIA, PlaceFacts("US")], NOW)
    return clock


def at(*when):
    return datetime(*when, tzinfo=UTC)


def test_the_parts_cover_the_day_as_named():
    parts = [(part, list(hours)) for part, hours in groupby(range(24), part_of_day)]
    assert parts == [
        ("night", [0, 1, 2, 3, 4]),
        ("morning", [5, 6, 7, 8, 9]),
        ("midday", [10, 11, 12, 13]),
        ("afternoon", [14, 15, 16, 17]),
        ("evening", [18, 19, 20, 21, 22]),
        ("night", [23]),
    ]


def test_one_instant_is_another_hour_and_weekday_elsewhere(clock):
    instant = at(2026, 11, 22, 23, 30)
    berlin, tokyo = (clock.facts(instant, zone, NOWHERE) for zone in ("Europe/Berlin", "Asia/Tokyo"))
    assert (berlin.weekday, berlin.part) == ("mon", "night")
    assert (tokyo.weekday, tokyo.part) == ("mon", "morning")
    assert clock.facts(instant, "America/New_York", NOWHERE).weekday == "sun"


def test_the_offset_in_which_an_instant_is_stated_changes_nothing(clock):
    stated = datetime(2026, 11, 23, 18, 5, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    assert clock.facts(stated, "Europe/Berlin", BERLIN) == clock.facts(
        stated.astimezone(UTC), "Europe/Berlin", BERLIN
    )


def test_when_clocks_go_forward_no_instant_is_lost(clock):
    hours = [clock.facts(at(2026, 3, 29, h), "Europe/Berlin", NOWHERE).at.hour for h in range(4)]
    assert hours == [1, 3, 4, 5]


def test_when_clocks_go_back_both_instants_are_told_apart(clock):
    first, second = (clock.facts(at(2026, 10, 25, h), "Europe/Berlin", NOWHERE) for h in (0, 1))
    assert first.at.hour == second.at.hour == 2
    assert first.at.utcoffset() != second.at.utcoffset()


def test_a_time_is_told_to_the_minute_so_that_equal_minutes_are_equal(clock):
    early, late = (clock.facts(at(2026, 11, 23, 12, 0, second), "UTC", BERLIN) for second in (1, 59))
    assert early == late
    assert early.at == at(2026, 11, 23, 12)


@pytest.mark.parametrize(
    "zone",
    ["Europe/Atlantis", "", "../../etc/passwd", "localtime", "europe/berlin", "CEST", "A\0B", "x" * 10**5],
)
def test_an_unknown_zone_is_refused_by_name(clock, zone):
    with pytest.raises(FactError) as caught:
        clock.facts(NOW, zone, NOWHERE)
    assert caught.value.field == "time.timezone"
    assert len(str(caught.value)) < 200
    with pytest.raises(FactError, match=r"publisher\.timezone"):
        clock.check(zone, "publisher.timezone")


@pytest.mark.parametrize("when", [NOW.replace(tzinfo=None), at(1, 1, 1), datetime.max.replace(tzinfo=UTC)])
def test_a_time_without_offset_or_out_of_all_reason_is_refused_by_name(clock, when):
    with pytest.raises(FactError, match=r"time\.at"):
        clock.facts(when, "Pacific/Kiritimati", NOWHERE)


def test_seasons_are_turned_around_south_of_the_equator_and_absent_in_the_tropics(clock):
    assert [season(month, 52.5) for month in (1, 4, 7, 10)] == ["winter", "spring", "summer", "autumn"]
    assert [season(month, -33.9) for month in (1, 4, 7, 10)] == ["summer", "autumn", "winter", "spring"]
    assert [season(month, 1.3) for month in range(1, 13)] == [None] * 12
    assert [season(month, 52.5) for month in (2, 3, 5, 6, 8, 9, 11, 12)] == [
        "winter", "spring", "spring", "summer", "summer", "autumn", "autumn", "winter",
    ]  # fmt: skip
    assert clock.facts(at(2026, 7, 1), "Australia/Sydney", PlaceFacts("AU")).season == "winter"


def test_without_a_place_neither_season_nor_daylight_nor_holiday_is_known(clock):
    facts = clock.facts(at(2026, 12, 25, 12), "Europe/Berlin", NOWHERE)
    assert (facts.season, facts.daylight, facts.holiday) == (None, None, None)


def test_daylight_follows_the_sun_over_berlin():
    """On 23 November the sun rises there at about 07:40 and sets at about 16:00 CET."""
    berlin = Point(52.5, 13.4)
    assert daylight(at(2026, 11, 23, 11), berlin) == "day"
    assert daylight(at(2026, 11, 23, 6, 45), berlin) == daylight(at(2026, 11, 23, 14, 55), berlin) == "golden"
    assert (
        daylight(at(2026, 11, 23, 6, 30), berlin) == daylight(at(2026, 11, 23, 15, 10), berlin) == "twilight"
    )
    assert daylight(at(2026, 11, 23, 18), berlin) == "night"


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)), st.floats(-90, 90))
def test_daylight_is_known_to_the_poles(when, latitude):
    assert daylight(when, Point(latitude, 25.0)) in DAYLIGHTS


def test_the_sun_stays_up_in_a_polar_summer_and_down_in_a_polar_winter():
    longyearbyen = Point(78.2, 15.6)
    assert {daylight(at(2026, 6, 21, h), longyearbyen) for h in range(24)} <= {"day", "golden"}
    assert {daylight(at(2026, 12, 21, h), longyearbyen) for h in range(24)} == {"night"}


def test_holidays_are_those_of_the_region(clock):
    epiphany = at(2026, 1, 6, 12)
    assert clock.facts(epiphany, "Europe/Berlin", BAVARIA).holiday == "Epiphany"
    assert clock.facts(epiphany, "Europe/Berlin", BERLIN).holiday is None
    assert clock.facts(at(2026, 10, 3, 12), "Europe/Berlin", BERLIN).holiday == "German Unity Day"


def test_a_holiday_begins_at_local_midnight(clock):
    assert clock.facts(at(2026, 12, 24, 22, 59), "Europe/Berlin", BERLIN).holiday is None
    assert clock.facts(at(2026, 12, 24, 23, 0), "Europe/Berlin", BERLIN).holiday == "Christmas Day"


def test_a_region_that_was_not_prepared_has_its_countrys_holidays(clock):
    christmas = at(2026, 12, 25, 12)
    assert clock.facts(christmas, "Europe/Berlin", PlaceFacts("DE", "DE-HH")).holiday == "Christmas Day"
    assert clock.facts(christmas, "Europe/Paris", PlaceFacts("FR")).holiday is None


def test_a_region_without_holidays_of_its_own_has_its_countrys():
    atlas = Atlas.load()
    clock = Clock(atlas)
    codes = (
        "DE",
        "FR-IDF",
        "FR-20R",
        "IT-25",
        "US-CA",
        "US-PR",
        "GB-SCT",
        "NL-NH",
        "BE-WAL",
        "PL-14",
        "IN-DL",
    )
    clock.prepare([PlaceFacts(code[:2], code if len(code) > 2 else None) for code in codes], NOW)
    new_year = at(2026, 1, 1, 12)
    for country in ("FR", "IT", "US", "PL"):
        assert clock.facts(new_year, "UTC", PlaceFacts(country, f"{country}-XX")).holiday == "New Year's Day"


def test_preparing_again_is_seen_at_once():
    clock = Clock(Atlas.load())
    christmas = at(2026, 12, 25, 12)
    assert clock.facts(christmas, "Europe/Paris", PlaceFacts("FR")).holiday is None
    clock.prepare([PlaceFacts("FR"), PlaceFacts("JP", "JP-13")], NOW)
    assert clock.facts(christmas, "Europe/Paris", PlaceFacts("FR")).holiday == "Christmas Day"
    assert clock.facts(at(2027, 1, 1), "Asia/Tokyo", PlaceFacts("JP", "JP-13")).holiday == "New Year's Day"


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(("UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia")),
)
def test_facts_agree_with_the_calendar_of_the_standard_library(clock, when, zone):
    facts = clock.facts(when, zone, BERLIN)
    local = when.astimezone(ZoneInfo(zone))
    assert facts.weekday == WEEKDAYS[local.weekday()]
    assert facts.part == part_of_day(local.hour)
    assert facts.at == local.replace(second=0, microsecond=0)


def test_a_feast_whose_day_is_estimated_is_found_by_its_plain_name_and_an_observed_day_is_not():
    assert names_of("Eid al-Fitr (estimated); Labor Day") == (
        "Eid al-Fitr (estimated)",
        "Eid al-Fitr",
        "Labor Day",
    )
    assert names_of("Eid al-Adha (observed, estimated)")[1:] == ("Eid al-Adha (observed)",)
    assert names_of("Christmas Day (observed)") == ("Christmas Day (observed)",)
    assert "Eid al-Fitr" in holidays_near(PlaceCode("AE"), 2026)
