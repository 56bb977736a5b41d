"""/v1/consents and /v1/subject: readers' consents, as publishers record them and readers end them.

A publisher's server records with its key. To withdraw is as easy: the consent token or the rights token is
enough, from any page of the publisher's. To export and erase takes the rights token, for consent tokens go
along with requests for pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal, Protocol

from flask import Request, Response, request
from msgspec import Meta, Struct

from engine.campaign import Id, Publisher
from engine.consents import Consents, Grant
from engine.errors import NotFound, StoreError
from engine.keys import Caller
from engine.web.api import Api, Body, Refused, reply
from engine.web.decisions import MEDIA, cors
from engine.web.faults import Fault
from engine.web.origins import Origins
from privacy.consent import Purpose
from privacy.consent_token import Token, TokenError
from privacy.errors import FieldError
from privacy.gate import ARRIVAL, Arrival
from privacy.records import Notice, Words
from privacy.rights_token import Rights, RightsError

LD_JSON = "application/ld+json"
HEADERS = [("Vary", "Origin")]
# 128 bits and more, and neither an address nor a telephone number.
Sub = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9_-]{22,64}$(?!\n)", description="the publisher's name for a reader; opaque"),
]
Jws = Annotated[str, Meta(max_length=4096, description="a compact JWS that this service gave")]
String = Annotated[str, Meta(min_length=1, max_length=8192)]


class ConsentBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a reader answered to the publisher's notice. `days`: how long the consent stands."""

    publisher: Id
    purposes: Annotated[tuple[Purpose, ...], Meta(min_length=1, max_length=5)]
    notice: Notice
    expressed_by: Words
    sub: Sub | None = None
    state: Literal["given", "refused"] = "given"
    days: Annotated[int, Meta(ge=1, le=365)] = 180
    tcf: String | None = None
    gpp: String | None = None
    gpp_sid: Annotated[tuple[Annotated[int, Meta(ge=-1, le=100)], ...], Meta(max_length=20)] = ()


class StatusPlace(Struct, frozen=True):
    """Where others look up whether the consent still stands."""

    idx: int
    uri: str


class ReceiptAnswer(Struct, frozen=True, omit_defaults=True):
    """The entry in the log, the record that it commits to, byte for byte, and the key that shows so."""

    index: int
    record: str | None = None
    key: str | None = None


class ConsentAnswer(Struct, frozen=True, omit_defaults=True):
    """A recorded answer. Of a refusal there is nothing but its receipt."""

    state: str
    receipt: ReceiptAnswer
    record_id: str | None = None
    sub: str | None = None
    generation: int | None = None
    purposes: tuple[Purpose, ...] = ()
    token: str | None = None
    expires: str | None = None
    rights_token: str | None = None
    status: StatusPlace | None = None


class SubjectBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose consent: by one of its tokens; or by `sub`, with the publisher's key."""

    publisher: Id
    token: Jws | None = None
    rights_token: Jws | None = None
    sub: Sub | None = None


class WithdrawnAnswer(Struct, frozen=True, omit_defaults=True):
    """The consent is in force no more. `index` is of the entry in the log; none where it had ended before."""

    record_id: str
    state: str
    generation: int
    index: int | None = None


class ErasedAnswer(Struct, frozen=True):
    """Nothing is left. `erase_id` and `index` name the entry in the log that says so."""

    erase_id: str
    index: int


class Tokens(Protocol):
    """Reads consent tokens."""

    def token(self, text: str, publisher: Publisher) -> Token:
        """Return what a consent token says, whether its consent still stands or not. Raises TokenError."""


class ConsentDesk:
    """What the routes share: who may speak for whom."""

    def __init__(
        self,
        consents: Consents | None,
        tokens: Tokens | None,
        publishers: Callable[[], Mapping[str, Publisher]],
        caller_of: Callable[[Request], Caller | None],
        fault: Callable[[], str | None],
    ) -> None:
        """Take `fault`, which says why the log is not signed, or None."""
        self._fault = fault
        self._consents, self._tokens = consents, tokens
        self._publishers, self._caller_of = publishers, caller_of
        self._body: Body[SubjectBody] = Body(SubjectBody, MEDIA)

    @property
    def consents(self) -> Consents:
        """Return the consents. Raises Refused where they are off."""
        if self._consents is None:
            raise _off()
        return self._consents

    def recorder(self) -> Consents:
        """Return the consents, to record an answer in a log that holds. Raises Refused.

        Where the log does not, its next entry may be one that others hold another proof of. What ends a consent
        is taken all the same.
        """
        if self._fault() is not None:
            detail = "Nothing is agreed to until it is; see /readyz."
            raise Refused(503, "The consent log is not signed", detail, headers={"Retry-After": "60"})
        return self.consents

    def publisher(self, id: str, caller: Caller | None) -> Publisher:
        """Return a publisher in whose name the caller may speak. Raises Refused."""
        publisher = self._publishers().get(id)
        own = caller is None or caller.scope == "operator" or caller.tenant == id
        if publisher is None or not own:
            fault = Fault("publisher", "an unknown id, or another's", "the id of a publisher of yours")
            raise Refused(404, "Unknown publisher", None, (fault,))
        return publisher

    def subject(self, *, by_token: bool) -> tuple[str, str]:
        """Return (publisher, sub) that the request speaks for; a consent token does `by_token` only.

        Raises Refused.
        """
        body = self._body.read(request)
        given = [name for name in ("token", "rights_token", "sub") if getattr(body, name) is not None]
        ways = ("token", "rights_token", "sub") if by_token else ("rights_token", "sub")
        if len(given) != 1 or given[0] not in ways:
            faults = [Fault(name, "a value", "nothing here") for name in given if name not in ways]
            fault = Fault("$", f"{len(given)} of {', '.join(ways)}", "exactly one of them")
            raise Refused(422, "Invalid body", None, faults or (fault,))
        arrival: Arrival = request.environ[ARRIVAL]
        if body.sub is not None:
            caller = self._caller_of(request)
            if caller is None:
                fault = Fault("Authorization", "no valid key", "Bearer and a key of the publisher")
                raise Refused(401, "Key required", None, (fault,), {"WWW-Authenticate": "Bearer"})
            if caller.scope not in ("publisher", "operator"):
                fault = Fault("Authorization", f"a key of scope {caller.scope}", "a key of the publisher")
                raise Refused(403, "Key of another scope", None, (fault,))
            return self.publisher(body.publisher, caller).id, body.sub
        publisher = self._publishers().get(body.publisher)
        if arrival.origin is not None and (
            publisher is None or not Origins.belongs(arrival.origin, publisher)
        ):
            fault = Fault("Origin", "an origin that is not the publisher's", "one that it registered")
            raise Refused(403, "Foreign origin", None, (fault,))
        if body.rights_token is not None:  # good also where the publisher has left
            rights = self.rights(body.rights_token)
            if rights.publisher != body.publisher:
                raise _no_right("rights_token")
            return rights.publisher, rights.subject
        if publisher is None:
            raise _no_right("token")
        return publisher.id, self._read_token(body.token or "", publisher)

    def rights(self, token: str) -> Rights:
        """Return for whom a rights token speaks. Raises Refused."""
        consents = self.consents
        try:
            return consents.read_rights(token)
        except RightsError:
            raise _no_right("rights_token") from None

    def _read_token(self, text: str, publisher: Publisher) -> str:
        if self._tokens is None:
            raise _off()
        try:
            return self._tokens.token(text, publisher).subject
        except TokenError:
            raise _no_right("token") from None


def add_consents(api: Api, desk: ConsentDesk) -> None:
    """Add the routes."""

    @api.route(
        "/v1/consents",
        "POST",
        scopes=("operator", "publisher"),
        body=ConsentBody,
        answer=ConsentAnswer,
        statuses=(201,),
        problems=(404, 503),
    )
    def record_consent(caller: Caller, body: ConsentBody) -> Response:
        """Record that a reader agreed or refused; a consent is answered with its tokens."""
        publisher = desk.publisher(body.publisher, caller)
        consents = desk.recorder()
        asked = Grant(
            purposes=frozenset(body.purposes),
            notice=body.notice,
            expressed_by=body.expressed_by,
            days=body.days,
            tcf=body.tcf,
            gpp=body.gpp,
            gpp_sid=body.gpp_sid,
        )
        if body.state == "refused":
            if body.sub is not None:
                fault = Fault("sub", "a value", "nothing: a refusal is recorded without an identifier")
                raise Refused(422, "Invalid body", None, (fault,))
            with _told():
                receipt = consents.refuse(publisher, asked)
            return reply(ConsentAnswer("ConsentRefused", ReceiptAnswer(receipt.index)), 201)
        with _told():
            given = consents.grant(publisher, body.sub, asked)
        row, receipt = given.row, given.receipt
        answer = ConsentAnswer(
            state=row.state,
            receipt=ReceiptAnswer(receipt.index, receipt.record, receipt.key),
            record_id=given.record,
            sub=given.sub,
            generation=row.generation,
            purposes=tuple(sorted(row.purposes)),
            token=given.token,
            expires=row.expires.isoformat(),
            rights_token=given.rights_token,
            status=StatusPlace(given.status.index, given.status.uri),
        )
        return reply(answer, 201)

    known = (400, 401, 403, 404, 413, 415, 422, 503)

    @api.raw(
        "/v1/consents/withdraw",
        "POST",
        body=SubjectBody,
        answer=WithdrawnAnswer,
        media=MEDIA,
        problems=known,
    )
    def withdraw_consent() -> Response:
        """End a consent; it permits nothing from now on."""
        with _shared(), _told():
            publisher, sub = desk.subject(by_token=True)
            done = desk.consents.withdraw(publisher, sub, "request to the service")
            return _answer(WithdrawnAnswer(done.record, done.state, done.generation, done.index))

    @api.raw(
        "/v1/subject/export",
        "GET",
        answer=dict[str, Any],
        answer_media=LD_JSON,
        problems=(401, 403, 404, 503),
        security="rights",
    )
    def export_subject() -> Response:
        """Read all that is recorded of a reader, by its rights token (ISO/IEC TS 27560 in JSON-LD)."""
        with _shared(), _told():
            arrival: Arrival = request.environ[ARRIVAL]
            if arrival.rights_token is None:
                fault = Fault("Authorization", "no rights token", "Bearer and a rights token")
                raise Refused(401, "Rights token required", None, (fault,), {"WWW-Authenticate": "Bearer"})
            rights = desk.rights(arrival.rights_token)
            told = desk.consents.export(rights.publisher, rights.subject)
            return _answer(told, LD_JSON)

    @api.raw(
        "/v1/subject/erase",
        "POST",
        body=SubjectBody,
        answer=ErasedAnswer,
        media=MEDIA,
        problems=known,
    )
    def erase_subject() -> Response:
        """Erase all that is recorded of a reader, and the key to it."""
        with _shared(), _told():
            publisher, sub = desk.subject(by_token=False)
            done = desk.consents.erase(publisher, sub)
            return _answer(ErasedAnswer(done.erase_id, done.index))


def _answer(answer: object, media: str = "application/json") -> Response:
    arrival: Arrival = request.environ[ARRIVAL]
    response = reply(answer, 200, [*HEADERS, *cors(arrival.origin)])
    response.content_type = media
    return response


@contextmanager
def _shared() -> Iterator[None]:
    """Let a page of a registered origin read a refusal, too."""
    arrival: Arrival = request.environ[ARRIVAL]
    try:
        yield
    except Refused as refused:
        refused.headers |= {**dict(HEADERS), **dict(cors(arrival.origin))}
        raise


@contextmanager
def _told() -> Iterator[None]:
    """Answer the engine's refusals as problems."""
    try:
        yield
    except FieldError as error:
        raise Refused(422, "Invalid body", None, (Fault(error.field, error.got, error.expected),)) from None
    except NotFound:
        raise Refused(404, "Unknown", "Nothing is recorded of this subject.") from None
    except StoreError:  # what was begun is finished by itself within minutes
        raise Refused(503, "The store is busy", None, headers={"Retry-After": "60"}) from None


def _off() -> Refused:
    return Refused(
        503, "Consent is off", "The service's keys are not complete.", headers={"Retry-After": "60"}
    )


def _no_right(field: str) -> Refused:
    fault = Fault(field, "a token that gives no right here", "one of ours, of this publisher, in its time")
    return Refused(403, "No right", None, (fault,))
