"""`{% contextual_ad "top" size="300x250" %}` for Jinja2: the element, and no network in a template."""

from __future__ import annotations

from jinja2 import Environment, Undefined, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from markupsafe import Markup

from engine.publisher.markup import in_template


class ContextualAd(Extension):
    """Adds the tag. Who the publisher is may stand once in `environment.tactful_publisher`, or in each tag."""

    tags = {"contextual_ad"}

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.extend(tactful_publisher=None)

    def parse(self, parser: Parser) -> nodes.Node:
        """Read a placement, then attributes as name=value."""
        line = next(parser.stream).lineno
        placement = parser.parse_expression()
        named: list[nodes.Keyword] = []
        while parser.stream.current.type != "block_end":
            parser.stream.skip_if("comma")
            name = parser.stream.expect("name").value
            parser.stream.expect("assign")
            named.append(nodes.Keyword(name, parser.parse_expression()))
        return nodes.Output([self.call_method("_element", [placement], named)]).set_lineno(line)

    def _element(self, placement: object, **attributes: object) -> Markup:
        known = {name: value for name, value in attributes.items() if not isinstance(value, Undefined)}
        publisher: str | None = self.environment.tactful_publisher  # type: ignore[attr-defined]  # as extended above
        return Markup(in_template(placement, known, publisher))  # noqa: S704 - escaped there
