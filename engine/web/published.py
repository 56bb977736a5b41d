"""What the service says of itself to anybody: that it honours GPC, and which consents have ended."""

from __future__ import annotations

from flask import Response
from msgspec import Struct

from engine.status_list import STATUS_PATH, StatusList
from engine.web.api import SAFE_HEADERS, Api

GPC_SINCE = "2026-11-23"  # when this support of Global Privacy Control was last changed
STATUS_MEDIA = "application/statuslist+jwt"


class GpcSupport(Struct, frozen=True, rename={"last_update": "lastUpdate"}):
    """The GPC support resource, https://w3c.github.io/gpc/#gpc-support-resource."""

    gpc: bool = True
    last_update: str = GPC_SINCE


def add_published(api: Api, status_list: StatusList | None) -> None:
    """Add the routes; without a `status_list`, no consents can be checked and none is published."""

    @api.route("/.well-known/gpc.json", "GET", answer=GpcSupport)
    def gpc_support() -> GpcSupport:
        """Say that Sec-GPC is honoured."""
        return GpcSupport()

    if status_list is None:
        return

    @api.route(STATUS_PATH, "GET", answer=str, answer_media=STATUS_MEDIA)
    def consent_statuses() -> Response:
        """Read which consents have ended (Token Status List, signed)."""
        return Response(status_list.token(), 200, SAFE_HEADERS, content_type=STATUS_MEDIA)
