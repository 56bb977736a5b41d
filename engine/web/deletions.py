"""/dsrdelete.json and /v1/deletions: the IAB's Data Deletion Request Framework, as its recipient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from flask import Response, request
from msgspec import Meta, Struct

from engine.deletions import PATH, Deletions
from engine.web.api import Api, Body, Refused, reply
from privacy.deletion import LONGEST

MEDIA = ("application/json",)
ACCEPTED, REFUSED = 202, 400  # the framework's own statuses


class DeletionBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A deletion request: an rqJWT."""

    rq_jwt: Annotated[str, Meta(max_length=LONGEST)] = msgspec.field(name="rqJWT")


class DeletionAnswer(Struct, frozen=True):
    """Its acknowledgement: an acJWT that this service signed, with the framework's result code in it."""

    ac_jwt: str = msgspec.field(name="acJWT")


class Identifier(Struct, frozen=True):
    """What a request may name a reader by."""

    id: int
    type: str
    format: str


class DeletionResource(Struct, frozen=True, rename="camel"):
    """How to ask this service for deletions."""

    endpoint: str
    identifiers: tuple[Identifier, ...]
    public_key: tuple[dict[str, str], ...]
    vendor_script_requirement: bool


def add_deletions(api: Api, deletions: Callable[[], Deletions | None]) -> None:
    """Add the routes; `deletions` gives None where the keys of consent are not complete."""
    body: Body[DeletionBody] = Body(DeletionBody, MEDIA, 2 * LONGEST)

    def open_deletions() -> Deletions:
        found = deletions()
        if found is None:
            raise Refused(503, "Consent is off", "The service's keys are not complete.")
        return found

    @api.route("/dsrdelete.json", "GET", answer=DeletionResource, problems=(503,))
    def deletion_endpoint() -> DeletionResource:
        """Read how to ask for deletions (IAB Tech Lab, Data Deletion Request Framework)."""
        return msgspec.convert(open_deletions().resource(), DeletionResource)

    @api.raw(
        PATH,
        "POST",
        body=DeletionBody,
        answer=DeletionAnswer,
        media=MEDIA,
        statuses=(ACCEPTED, REFUSED),
        problems=(413, 415, 503),
    )
    def request_deletion() -> Response:
        """Delete what is recorded of a reader, as the first party asks in a signed request."""
        code, acknowledged = open_deletions().answer(_rq_jwt(body))
        return reply(DeletionAnswer(acknowledged), REFUSED if code else ACCEPTED)


def _rq_jwt(body: Body[DeletionBody]) -> str:
    """Return the rqJWT of a body; none where the body is no such thing, which its acknowledgement then says."""
    try:
        return body.read(request).rq_jwt
    except Refused as refused:
        if refused.problem.status in (400, 422):
            return ""
        raise
