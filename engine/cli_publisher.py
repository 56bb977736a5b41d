"""What publishers ask the command line: the lines for their pages, and whether a page has them right."""

from __future__ import annotations

import click

from engine.cli_shared import as_json, read_config, show


@click.command()
@click.option("--publisher", default="PUBLISHER", help="The publisher's id.")
@click.option("--server", help="URL of the service. [default: TACTFUL_PUBLIC_URL, or host and port]")
@as_json
def tag(publisher: str, server: str | None, as_json: bool) -> None:
    """Print the lines of HTML that show advertisements on a page, with their integrity.

    Example: tactful tag --publisher daily-planet
    """
    from engine.publisher import markup
    from engine.publisher.tag import SCRIPT, STYLE, head_lines, policy, tag_file

    base = (server or read_config().base_url).rstrip("/")
    head, element = head_lines(base), markup.contextual_ad("top", publisher=publisher)
    allowed = policy(base)
    told = {
        "head": list(head),
        "element": element,
        "integrity": {name: tag_file(name).integrity for name in (SCRIPT, STYLE)},
        "content_security_policy": allowed,
    }
    lines = (
        "In the head, the style before the script:",
        *head,
        "Where the advertisement shall stand:",
        element,
        "If the page has a Content-Security-Policy, it lets in:",
        "; ".join(f"{directive} {source}" for directive, source in allowed.items()),
    )
    show(told, as_json, lines)
