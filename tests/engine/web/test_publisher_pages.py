"""The publisher's page: released numbers by section, today by the catalogue, and what to change in a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.keys import create_key
from engine.publisher.markup import contextual_ad
from engine.publisher.tag import head_lines
from engine.today import today
from engine.web.publisher_pages import TODAY
from tests.engine.report_world import DAY, NOW, decisions, views
from tests.engine.web.test_repository import Place
from tests.world import World, advertiser, campaign, creative, publisher

BASE = "https://ads.example"
PAGE = f"<title>x</title>{''.join(head_lines(BASE))}{contextual_ad('top', publisher='planet')}"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.services.close()


def key(place: Place, scope: str = "publisher", tenant: str | None = "planet") -> str:
    return create_key(place.world.store, scope, tenant, "test", NOW, lambda size: b"k" * size)  # type: ignore[arg-type]


def show(place: Place, **form: str) -> tuple[int, str]:
    answer = place.client.post("/publisher", data=form)
    return answer.status_code, answer.text


def test_numbers_are_released_sums_of_its_own_sections(place: Place) -> None:
    rows = list(views(3000))
    place.world.add(rows, decisions(rows))
    place.services.reporting.releases.release(DAY)
    status, text = show(place, key=key(place))
    assert status == 200
    for section in ("sport", "news", "other", "all"):
        assert f'<th scope="row">{section}</th>' in text
    assert "±" in text and "fill (interval)" in text and " % (" in text and "Few campaigns may run" in text
    assert "globe" not in text


def test_before_anything_was_released_it_says_so(place: Place) -> None:
    status, text = show(place, key=key(place))
    assert status == 200 and "Nothing is told yet" in text


def test_only_a_publishers_key_opens_it(place: Place) -> None:
    assert place.client.get("/publisher").status_code == 200
    assert show(place, key="tactful_" + "x" * 40)[0] == 401
    assert show(place)[0] == 401
    assert show(place, key=key(place, "advertiser", "acme"))[0] == 403
    assert place.client.get("/publisher/publisher.css").status_code == 200


def test_a_pasted_page_is_looked_at_by_the_service_itself(place: Place) -> None:
    good = show(place, key=key(place), url="https://planet.example/a", source=PAGE)
    assert good[0] == 200
    assert "is checked by its integrity" in good[1] and "(CORS)" in good[1]
    assert "<td>change</td>" not in good[1]
    _, bad = show(place, key=key(place), url="https://other.example/a", source=PAGE.replace("sha384", "sha1"))
    assert "Register the domain other.example" in bad and "integrity" in bad


def test_no_address_that_is_pasted_is_asked(place: Place) -> None:
    for url in ("https://planet.example/a", "http://169.254.169.254/"):
        evil = PAGE.replace(BASE, "http://169.254.169.254")
        status, text = show(place, key=key(place), url=url, source=evil)
        assert status == 200 and "answers 404" in text
    status, text = show(place, key=key(place), url="file:///etc/passwd", source="<b>'\"")
    assert status == 422 and "passwd" in text and "<b>'" not in text


def test_today_is_told_by_the_catalogue_alone(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.put(publisher(), advertiser(), advertiser("other"))
    assert today(world.view, "planet") == "none"
    assert today(world.view, "nobody") is None
    world.put(campaign("own", house=True, cpm_micros=0), creative("own-1", "own"))
    assert today(world.view, "planet") == "house"
    world.put(campaign(), creative(), creative("spring-2"))
    assert today(world.view, "planet") == "few"
    world.put(publisher(block_advertisers=("acme",)))
    assert today(world.view, "planet") == "none"
    for number in range(5):
        world.put(campaign(f"c{number}", "other"), creative(f"c{number}-1", f"c{number}"))
    assert today(world.view, "planet") == "many"
    world.put(publisher(approval="manual"))
    assert today(world.view, "planet") == "none"
    world.put(publisher(status="stopped"))
    assert today(world.view, "planet") == "none" and "stopped everything" in TODAY["none"]
