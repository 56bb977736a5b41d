"""A small API layer over msgspec: checked bodies, problems (RFC 9457), scopes, OpenAPI 3.1 of the same types.

Every route is declared once, with who may call it; what is declared is what is served and what is documented.
"""

from __future__ import annotations

import logging
import traceback
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec
from flask import Flask, Response, request
from msgspec import Struct
from werkzeug.exceptions import HTTPException

from engine.errors import StoreError
from engine.keys import Caller
from engine.later import Pending
from engine.web.faults import Fault, Malformed, faults_of, repeats_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

T = TypeVar("T")
MAX_BODY = 2 * 1024 * 1024  # bytes, after decompression; half of it as sent with gzip
MAX_UNREAD = 16 * 1024 * 1024  # bytes of a body too large for us that are taken all the same, and dropped
_DROPPED = 64 * 1024  # bytes at a time
RETRY_S = 5  # after which to try what the store could not do
PROBLEM_TYPE = "application/problem+json"
# Answers hold nothing to run, to frame or to keep.
SAFE_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
)
PUBLIC: frozenset[str] = frozenset()  # the scopes of a route that asks for no key

SECURITY: Mapping[str, Mapping[str, str]] = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key made by `tactful keys create`."},
    "rights": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A rights token, as `POST /v1/consents` answers one.",
    },
}

_encode = msgspec.json.Encoder().encode


class Sent(Protocol):
    """What is read of a request that Flask need not know of: its environ, as the gate left it."""

    @property
    def environ(self) -> WSGIEnvironment:
        """Return it."""


class Problem(Struct, frozen=True, omit_defaults=True):
    """What went wrong (RFC 9457), with the fields to mend."""

    title: str
    status: int
    detail: str | None = None
    errors: tuple[Fault, ...] = ()
    type: str = "about:blank"


class Refused(Exception):
    """A request that is answered with a problem."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str | None = None,
        errors: Iterable[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title)
        self.problem = Problem(title, status, detail, tuple(errors))
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Operation:
    """A documented route."""

    path: str
    method: str
    name: str
    summary: str
    scopes: frozenset[str]
    body: Any
    answer: Any
    statuses: tuple[int, ...]
    problems: tuple[int, ...]
    media: tuple[str, ...]
    path_schemas: Mapping[str, Any] = field(default_factory=dict)
    query_schemas: Mapping[str, Any] = field(default_factory=dict)
    answer_media: str = "application/json"
    embedded: Mapping[tuple[str, str], Any] = field(
        default_factory=dict
    )  # (schema, property) → what is in a Raw
    security: str | None = None  # of SECURITY
    empty: tuple[int, ...] = ()  # statuses of refusals without content


class Ready:
    """A good answer whose bytes are done: a WSGI application that sends them as one list, and no more."""

    __slots__ = ("_body", "_headers")
    status_code = 200

    def __init__(self, body: bytes, headers: list[tuple[str, str]]) -> None:
        self._body, self._headers = body, headers

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Send it."""
        _, headers, body = self.parts()
        start_response("200 OK", headers)
        return [body]

    def parts(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """Return status, headers and body."""
        return self.status_code, [*self._headers, ("Content-Length", str(len(self._body)))], self._body


class Later(Ready):
    """An answer that another thread sends (`engine.later`), and counts when it knows which."""

    __slots__ = ()
    status_code = 0

    def __init__(self) -> None:
        super().__init__(b"", [])

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Tell the server so."""
        raise Pending


def reply(answer: object, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """Answer with JSON."""
    return Response(_encode(answer), status, [*SAFE_HEADERS, *headers], mimetype="application/json")


def problem(refused: Refused) -> Response:
    """Answer with a problem."""
    headers = [*SAFE_HEADERS, *refused.headers.items()]
    return Response(_encode(refused.problem), refused.problem.status, headers, mimetype=PROBLEM_TYPE)


class Body(Generic[T]):
    """Reads request bodies of one type."""

    def __init__(self, kind: Any, media: tuple[str, ...], max_bytes: int = MAX_BODY) -> None:
        """`media` are the types that are taken; none: all."""
        self.kind, self.media, self.max_bytes = kind, media, max_bytes
        self.max_compressed = max_bytes // 2
        self._decode: Callable[[bytes], T] = msgspec.json.Decoder(kind).decode

    def read(self, sent: Sent) -> T:
        """Return the checked body. Raises Refused with every fault."""
        return self.decoded(self.read_bytes(sent))

    def decoded(self, data: bytes) -> T:
        """Check a body's bytes. Raises Refused with every fault."""
        try:
            body = self._decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise self._refusal(data) from None
        if faults := repeats_of(data, self.kind):
            raise Refused(422, "Invalid body", None, faults)
        return body

    def read_bytes(self, sent: Sent, *, gzipped: bool = False) -> bytes:
        """Return the body's bytes, decompressed; `gzipped`: they are, whatever the header says. Raises Refused."""
        # The gate left the bare media type, in lower case; text is UTF-8 whatever the charset said.
        if self.media and sent.environ.get("CONTENT_TYPE") not in self.media:
            fault = Fault("Content-Type", "another media type", " or ".join(self.media))
            raise Refused(415, "Unsupported media type", None, (fault,), {"Accept": ", ".join(self.media)})
        encoding = "gzip" if gzipped else sent.environ.get("HTTP_CONTENT_ENCODING", "identity")
        limit = self.max_bytes if encoding == "identity" else self.max_compressed
        data = _sent_bytes(sent, limit)
        match encoding:
            case "identity":
                return data
            case "gzip":
                return self._gunzip(data)
            case _:
                fault = Fault("Content-Encoding", "another coding", "gzip, or none")
                # RFC 9110 12.5.3: a 415 over the content coding says which ones are understood.
                raise Refused(415, "Unsupported content coding", None, (fault,), {"Accept-Encoding": "gzip"})

    def _gunzip(self, data: bytes) -> bytes:
        unzip = zlib.decompressobj(wbits=31)
        try:
            plain = unzip.decompress(data, self.max_bytes + 1)
        except zlib.error:
            plain = b""
        if len(plain) > self.max_bytes:
            raise _too_large(self.max_bytes, "bytes after decompression")
        if not unzip.eof or unzip.unused_data:
            raise Refused(
                400, "Malformed body", None, (Fault("$", "broken gzip", "one complete gzip member"),)
            )
        return plain

    def _refusal(self, data: bytes) -> Refused:
        try:
            return Refused(422, "Invalid body", None, faults_of(data, self.kind))
        except Malformed as malformed:
            return Refused(400, "Malformed body", None, malformed.faults)


def fault_line(error: BaseException) -> str:
    """Name an exception's type and place for the log; its message may quote what a visitor sent."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    place = f" at {Path(frames[0].filename).name}:{frames[0].lineno}" if frames else ""
    return type(error).__name__ + place


class Api:
    """Declares routes: `route` for checked JSON, `raw` for views that read and answer by themselves."""

    def __init__(
        self,
        app: Flask,
        caller_of: Callable[[Sent], Caller | None],
        count: Callable[[str, int], None],
        title: str,
        version: str,
        description: str,
    ) -> None:
        self.app, self._caller_of, self._count = app, caller_of, count
        self.info = {"title": title, "version": version, "description": description}
        self.operations: dict[str, Operation] = {}
        self._spec: bytes | None = None
        app.register_error_handler(HTTPException, _http_problem)
        self.raw("/openapi.json", "GET", answer=dict[str, Any])(self.openapi)

    def route(
        self,
        rule: str,
        method: str,
        *,
        name: str | None = None,
        summary: str | None = None,
        scopes: Iterable[str] = PUBLIC,
        body: Any = None,
        as_bytes: bool = False,
        answer: Any = None,
        statuses: tuple[int, ...] = (200,),
        problems: tuple[int, ...] = (),
        max_bytes: int = MAX_BODY,
        path: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        answer_media: str = "application/json",
    ) -> Callable[[Callable[..., object]], Callable[..., object]]:
        """Declare a view of path values, `caller` where scopes are asked, `body` where one is declared.

        `as_bytes` gives it the body's bytes, to be checked by what it calls.
        """
        wanted = frozenset(scopes)
        media = ("application/json",) if body is not None else ()
        reader: Body[object] | None = Body(body, media, max_bytes) if body is not None else None

        def declare(view: Callable[..., object]) -> Callable[..., object]:
            def answer_request(**values: object) -> Response:
                if wanted:
                    values["caller"] = self._admit(wanted)
                if reader is not None:
                    values["body"] = reader.read_bytes(request) if as_bytes else reader.read(request)
                given = view(**values)
                if isinstance(given, Response):
                    return given
                return reply(given) if answer is not None else Response(b"", 204, SAFE_HEADERS)

            known = ((401, 403) if wanted else ()) + ((400, 408, 413, 415, 422) if reader is not None else ())
            self.raw(
                rule,
                method,
                name=name or view.__name__,
                summary=summary or _summary(view),
                scopes=wanted,
                body=body,
                answer=answer,
                statuses=statuses if answer is not None else (204,),
                problems=(*known, *problems),
                media=media,
                path=path,
                query=query,
                answer_media=answer_media,
            )(answer_request)
            return view

        return declare

    def raw(
        self,
        rule: str,
        method: str,
        *,
        name: str | None = None,
        summary: str | None = None,
        scopes: frozenset[str] = PUBLIC,
        body: Any = None,
        answer: Any = None,
        statuses: tuple[int, ...] = (200,),
        problems: tuple[int, ...] = (),
        media: tuple[str, ...] = (),
        path: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        answer_media: str = "application/json",
        embedded: Mapping[tuple[str, str], Any] | None = None,
        security: str | None = None,
        empty: tuple[int, ...] = (),
    ) -> Callable[[Callable[..., Response | Ready]], Callable[..., Response | Ready]]:
        """Declare a view that makes its answer and reads the request by itself."""

        def declare(view: Callable[..., Response | Ready]) -> Callable[..., Response | Ready]:
            title = name or view.__name__
            self.operations[title] = Operation(
                path=rule,
                method=method,
                name=title,
                summary=summary or _summary(view),
                scopes=scopes,
                body=body,
                answer=answer,
                statuses=statuses,
                problems=tuple(sorted({*problems, 500, 503})),
                media=media,
                path_schemas=path or {},
                query_schemas=query or {},
                answer_media=answer_media,
                embedded=embedded or {},
                security=security or ("key" if scopes else None),
                empty=empty,
            )
            self.app.add_url_rule(
                rule, title, self.counted(title, view), methods=[method], provide_automatic_options=False
            )
            return view

        return declare

    def openapi(self) -> Response:
        """Describe this service (OpenAPI 3.1)."""
        if self._spec is None:
            self._spec = _encode(describe_operations(self.info, self.operations.values()))
        return Response(self._spec, 200, SAFE_HEADERS, mimetype="application/json")

    def counted(self, title: str, view: Callable[..., Response | Ready]) -> Callable[..., Response | Ready]:
        """Return a view whose answers are counted, and whose errors are answered as problems."""

        def answered(**values: object) -> Response | Ready:
            response: Response | Ready
            try:
                response = view(**values)
            except Refused as refused:
                response = problem(refused)
            except HTTPException as error:
                response = _http_problem(error)
            except StoreError as error:  # a full disk, say: decisions go on from memory meanwhile
                log.error("%s failed: %s", title, error)
                retry = {"Retry-After": str(RETRY_S)}
                response = problem(
                    Refused(503, "The store cannot be used now", "Nothing was changed.", (), retry)
                )
            except Exception as error:
                log.error("%s failed: %s", title, fault_line(error))
                response = problem(Refused(500, "Internal server error"))
            if response.status_code:
                self._count(title, response.status_code)
            return response

        return answered

    def _admit(self, wanted: frozenset[str]) -> Caller:
        caller = self._caller_of(request)
        if caller is None:
            fault = Fault(
                "Authorization", "no valid key", f"Bearer and a key of scope {' or '.join(sorted(wanted))}"
            )
            # RFC 9110 11.6.1: a 401 names the scheme.
            raise Refused(401, "Key required", None, (fault,), {"WWW-Authenticate": "Bearer"})
        if caller.scope not in wanted:
            fault = Fault(
                "Authorization", f"a key of scope {caller.scope}", f"scope {' or '.join(sorted(wanted))}"
            )
            raise Refused(403, "Key of another scope", None, (fault,))
        return caller


def describe_operations(info: Mapping[str, str], operations: Iterable[Operation]) -> dict[str, Any]:
    """Write the OpenAPI 3.1 document of these operations."""
    listed = list(operations)
    kinds = [kind for op in listed for kind in (op.body, op.answer) if kind is not None]
    embedded = {place: kind for op in listed for place, kind in op.embedded.items()}
    refs, components = msgspec.json.schema_components(
        [*kinds, Problem, *embedded.values()], ref_template="#/components/schemas/{name}"
    )
    schemas, problem_schema = refs[: len(kinds)], refs[len(kinds)]
    for (name, part), schema in zip(embedded, refs[len(kinds) + 1 :], strict=True):
        components[name]["properties"][part] = schema
    schema_of = iter(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for op in listed:
        told: dict[str, Any] = {"operationId": op.name, "summary": op.summary, "responses": {}}
        if op.security is not None:
            told["security"] = [{op.security: []}]
        if op.scopes:
            told["description"] = f"Needs a key of scope {' or '.join(sorted(op.scopes))}."
        if op.path_schemas or op.query_schemas:
            told["parameters"] = [
                {"name": name, "in": place, "required": place == "path", "schema": schema}
                for place, schemas_of in (("path", op.path_schemas), ("query", op.query_schemas))
                for name, schema in schemas_of.items()
            ]
        if op.body is not None:
            schema = next(schema_of)
            told["requestBody"] = {
                "required": True,
                "content": {media: {"schema": schema} for media in op.media},
            }
        success: dict[str, Any] = {"description": "As asked"}
        if op.answer is not None:
            success["content"] = {op.answer_media: {"schema": next(schema_of)}}
        for status in op.statuses:
            told["responses"][str(status)] = success
        for status in op.problems:
            told["responses"][str(status)] = {
                "description": HTTPStatus(status).phrase,
                "content": {PROBLEM_TYPE: {"schema": problem_schema}},
            }
        for status in op.empty:
            told["responses"][str(status)] = {"description": HTTPStatus(status).phrase}
        path = op.path.replace("<path:", "<").replace("<", "{").replace(">", "}")
        paths.setdefault(path, {})[op.method.lower()] = told
    return {
        "openapi": "3.1.0",
        "info": dict(info),
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": SECURITY},
    }


def _sent_bytes(sent: Sent, limit: int) -> bytes:
    """Read the body: as much as is stated, or to its end where it is chunked. Raises Refused."""
    stated, body = sent.environ.get("CONTENT_LENGTH"), sent.environ["wsgi.input"]
    if stated is not None and (len(stated) > 12 or int(stated) > limit):
        _let_finish(body, int(stated) if len(stated) <= 12 else MAX_UNREAD + 1)
        raise _too_large(limit, "bytes")
    if stated is None and not sent.environ.get("wsgi.input_terminated"):
        return b""  # without a length there is no body, unless the server knows where one ends
    try:
        data: bytes = body.read(limit + 1 if stated is None else int(stated))
    except TimeoutError:
        fault = Fault("$", "a body that came too slowly", "the whole body within seconds")
        raise Refused(408, "Request timeout", None, (fault,), {"Connection": "close"}) from None
    except OSError:
        fault = Fault("$", "a body that breaks off", "a whole body, in chunks or of the stated length")
        raise Refused(400, "Incomplete body", None, (fault,), {"Connection": "close"}) from None
    if stated is None and len(data) > limit:
        raise _too_large(limit, "bytes")
    if stated is not None and len(data) != int(stated):
        fault = Fault("$", f"{len(data)} bytes", f"{stated} bytes, as Content-Length says")
        raise Refused(400, "Incomplete body", None, (fault,))
    return data


def _let_finish(body: Any, stated: int) -> None:
    """Drop a body that is refused unread: who is still sending would meet a closed connection, and no answer."""
    if stated > MAX_UNREAD:
        return
    with suppress(OSError):  # too slow, or gone
        while stated > 0 and (data := body.read(min(stated, _DROPPED))):
            stated -= len(data)


def _too_large(limit: int, unit: str) -> Refused:
    fault = Fault("$", f"more than {limit} {unit}", f"at most {limit} {unit}")
    return Refused(413, "Content too large", None, (fault,))


def _summary(view: Callable[..., object]) -> str:
    return (view.__doc__ or "").strip().split("\n")[0].rstrip(".")


def _http_problem(error: HTTPException) -> Response:
    headers = {}
    if allowed := getattr(error, "valid_methods", None):
        headers["Allow"] = ", ".join(sorted(allowed))
    if error.code is not None and 300 <= error.code < 400:
        return error.get_response()  # type: ignore[return-value]  # Werkzeug's own redirects
    return problem(Refused(error.code or 500, error.name, headers=headers))
