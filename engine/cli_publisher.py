"""What publishers ask the command line: the lines for their pages, and whether a page has them right."""

from __future__ import annotations

import re
import sys

import click

from engine.cli_shared import FOUND, as_json, read_config, show

# An origin and a path: what goes into a policy and attributes, and means the same in all of them.
_SERVER = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~%/-]*)?", re.ASCII
)


@click.command()
@click.option("--publisher", default="PUBLISHER", help="The publisher's id.")
@click.option("--server", help="URL of the service. [default: TACTFUL_PUBLIC_URL, or host and port]")
@click.option(
    "--only", type=click.Choice(["head", "element", "policy"]), help="Print these lines and no others."
)
@as_json
def tag(publisher: str, server: str | None, only: str | None, as_json: bool) -> None:
    """Print the lines of HTML that show advertisements on a page, with their integrity.

    Example: tactful tag --publisher daily-planet
    """
    from engine.publisher import markup
    from engine.publisher.tag import SCRIPT, STYLE, head_lines, policy, tag_file

    base = (server or read_config().base_url).rstrip("/")
    if not _SERVER.fullmatch(base):
        raise click.BadParameter(
            f"{base!r} is not an http or https URL, such as https://ads.example", param_hint="--server"
        )
    head, element = head_lines(base), markup.contextual_ad("top", publisher=publisher)
    allowed = policy(base)
    told = {
        "head": list(head),
        "element": element,
        "integrity": {name: tag_file(name).integrity for name in (SCRIPT, STYLE)},
        "content_security_policy": allowed,
    }
    rules = "; ".join(f"{directive} {source}" for directive, source in allowed.items())
    parts = {"head": head, "element": (element,), "policy": (rules,)}
    lines = (
        "In the head, the style before the script:",
        *head,
        "Where the advertisement shall stand:",
        element,
        "If the page has a Content-Security-Policy, it lets in:",
        rules,
    )
    show(told, as_json, parts[only] if only else lines)


@click.command()
@click.argument("url")
@as_json
def doctor(url: str, as_json: bool) -> None:
    """Look at a page's installation from outside and say what to change; exits 1 where there is something.

    Example: tactful doctor http://127.0.0.1:8137/
    """
    from engine.doctor import examine

    findings = examine(url)
    wrong = [one for one in findings if one.state == "change"]
    lines = [
        f"{one.state:<6}  {one.what}" + (f"\n        {one.remedy}" if one.remedy else "") for one in findings
    ]
    show([one._asdict() for one in findings], as_json, lines)
    if wrong:
        sys.exit(FOUND)
