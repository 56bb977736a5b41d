"""The auditor's page: read-only, it reads and verifies the published log in the browser, with the auditor's own key.

The page itself holds nothing and is for everybody; what it shows comes from the routes of the log, which ask for
the compliance scope unless the log is public.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files

from flask import Response

from engine.web.api import Api
from privacy.consent import PURPOSES
from privacy.inventory import load

_FILES = {
    "audit.html": "text/html; charset=utf-8",
    "audit.css": "text/css; charset=utf-8",
    "audit.js": "text/javascript; charset=utf-8",
}
_HEADERS = (
    ("Cache-Control", "no-cache"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'",
    ),
)


def add_audit(api: Api) -> None:
    """Add the page and what belongs to it."""
    folder = files("engine").joinpath("web", "static", "audit")
    texts = {name: folder.joinpath(name).read_text("utf-8") for name in _FILES}
    never = "\n".join(f"<li>{escape(what)}</li>" for what in load().never)
    purposes = "\n".join(f"<option>{escape(purpose)}</option>" for purpose in sorted(PURPOSES))
    page = texts["audit.html"].replace("<!--never-->", never).replace("<!--purposes-->", purposes)
    texts["audit.html"] = page

    def answer(name: str) -> Response:
        return Response(texts[name], 200, _HEADERS, content_type=_FILES[name])

    @api.route("/audit", "GET", answer=str, answer_media="text/html")
    def audit() -> Response:
        """Open the auditor's page."""
        return answer("audit.html")

    @api.route("/audit/audit.css", "GET", answer=str, answer_media="text/css")
    def audit_style() -> Response:
        """Load the page's style."""
        return answer("audit.css")

    @api.route("/audit/audit.js", "GET", answer=str, answer_media="text/javascript")
    def audit_script() -> Response:
        """Load the page's script."""
        return answer("audit.js")
