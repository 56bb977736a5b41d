"""The template tags of Jinja2 and Django give the same element, escaped, and never break a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from jinja2 import Environment, TemplateSyntaxError

from engine.publisher.jinja import ContextualAd

Render = Callable[..., str]
TOP = '<contextual-ad publisher="planet" placement="top" width="320" height="100" section="sport"></contextual-ad>'


def jinja(text: str, **values: Any) -> str:
    environment = Environment(extensions=[ContextualAd], autoescape=True)
    environment.tactful_publisher = "planet"  # type: ignore[attr-defined]
    return environment.from_string(text).render(**values)


def django(text: str, **values: Any) -> str:
    template = pytest.importorskip("django.template", reason="needs Django")
    from django.conf import settings

    if not settings.configured:
        settings.configure(TACTFUL_PUBLISHER="planet")
    engine = template.Engine(libraries={"contextual_ad": "engine.publisher.django"}, builtins=[])
    made = engine.from_string("{% load contextual_ad %}" + text)
    return str(made.render(template.Context(values)))


@pytest.fixture(params=[jinja, django])
def render(request: pytest.FixtureRequest) -> Render:
    found: Render = request.param
    return found


def test_the_tag_gives_the_element(render: Render) -> None:
    text = '<p>{% contextual_ad "top" size="320x100" section=section %}</p>'
    assert render(text, section="sport") == f"<p>{TOP}</p>"


def test_what_comes_from_elsewhere_stays_in_its_attribute(render: Render) -> None:
    made = render(
        "{% contextual_ad place title=title %}", place='"><script>alert(1)</script>', title="a'b\"c&d"
    )
    assert "<script" not in made
    assert made.count("<") == 2
    assert 'title="a&#x27;b&quot;c&amp;d"' in made


def test_another_publisher_may_be_named(render: Render) -> None:
    assert 'publisher="globe"' in render('{% contextual_ad "top" publisher="globe" %}')


@pytest.mark.parametrize("size", ["big", "--><script>", ""])
def test_what_is_wrong_stands_in_a_comment(render: Render, size: str) -> None:
    made = render('<p>{% contextual_ad "top" size=size %}</p>', size=size)
    assert made.startswith("<p><!-- contextual_ad: size: got ")
    assert made.endswith(" --></p>")
    assert made.count("--") == 2 and "<script" not in made


def test_what_is_not_defined_is_left_out() -> None:
    assert "section" not in jinja('{% contextual_ad "top" section=nothing %}')


def test_without_a_publisher_a_comment_says_so() -> None:
    text = (
        Environment(extensions=[ContextualAd])
        .from_string('{% contextual_ad "top", size="300x250" %}')
        .render()
    )
    assert text == "<!-- contextual_ad: publisher: got nothing, expected the publisher&#x27;s id -->"


def test_a_tag_that_is_not_well_formed_is_a_fault_of_the_template() -> None:
    with pytest.raises(TemplateSyntaxError):
        jinja('{% contextual_ad "top" size %}')
