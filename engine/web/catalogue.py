"""/v1/publishers, advertisers, campaigns, creatives, approvals: the catalogue as its owners change it.

Who may see and touch what is engine.manage's; what is another tenant's is answered like what does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from flask import Response, request
from msgspec import Meta, Struct

from engine import changes, manage
from engine.change import KINDS, ApprovalState, Entity, Kind
from engine.check.findings import Known
from engine.creative import Creative
from engine.errors import CatalogConflict, CatalogError, CatalogErrors, Forbidden, NotFound
from engine.keys import Caller, Scope
from engine.web.api import Api, Refused, reply
from engine.web.faults import MAX_FAULTS, Fault, word

T = TypeVar("T")
MAX_BYTES = 16 * 1024 * 1024  # a creative may bring its picture in base64
QUERY_KEYS = ("after", "limit")
ID = r"^[a-z0-9][a-z0-9._-]{0,63}$"
MAX_LIMIT = 1000
ALL: tuple[Scope, ...] = ("operator", "compliance", "publisher", "advertiser")
WRITERS: dict[Kind, tuple[Scope, ...]] = {
    "publisher": ("operator", "publisher"),
    "advertiser": ("operator",),
    "campaign": ("operator", "advertiser"),
    "creative": ("operator", "advertiser"),
}
_ID = re.compile(ID.replace("$", r"\Z"), re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,15}\Z", re.ASCII)
_LIMIT = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_QUERY = {
    "after": {"type": "string", "pattern": ID, "description": "the last id of the page before"},
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 100},
}


class Page(Struct, Generic[T], frozen=True):
    """A page of a list, by id; `next` is what to ask `after` for the next one."""

    items: tuple[T, ...]
    next: str | None


class Stored(Struct, Generic[T], frozen=True):
    """A thing as it is stored now, and what is worth a second look."""

    stored: T
    warnings: tuple[str, ...]


class ReviewAnswer(Struct, frozen=True):
    """A creative before a publisher's eyes. An approval names the `hash` of the content that was seen."""

    creative: Creative
    hash: str
    state: ApprovalState | None


class ChangePage(Struct, frozen=True):
    """Changes of the catalogue; `next` is what to ask `after` for the next ones."""

    items: tuple[changes.Changed, ...]
    next: int | None


class ApprovalBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a publisher says of a creative's content."""

    state: Literal["approved", "rejected"]
    hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="from the list of approvals")]


def add_catalogue(api: Api, store: changes.ChangeStore, known: Known, now: Callable[[], datetime]) -> None:
    """Add the routes."""
    for kind, cls in KINDS.items():
        _add_kind(api, store, known, now, kind, cls)

    @api.route(
        "/v1/approvals/<publisher>",
        "GET",
        scopes=("operator", "publisher"),
        answer=Page[ReviewAnswer],
        problems=(404, 422),
        path={"publisher": id_schema()},
        query=_QUERY,
    )
    def list_approvals(caller: Caller, publisher: str) -> Page[ReviewAnswer]:
        """List the creatives that may come to a publisher's pages, and what it said of them."""
        after, limit = asked_page()
        with told():
            found = manage.review(store, caller, publisher, after, limit)
        items = tuple(ReviewAnswer(one.creative, one.hash, one.state) for one in found)
        return Page(items, items[-1].creative.id if items else None)

    @api.route(
        "/v1/approvals/<publisher>/<creative>",
        "PUT",
        scopes=("operator", "publisher"),
        body=ApprovalBody,
        problems=(404, 409),
        path={"publisher": id_schema(), "creative": id_schema()},
    )
    def put_approval(caller: Caller, publisher: str, creative: str, body: ApprovalBody) -> None:
        """Approve or reject a creative for a publisher's pages."""
        with told():
            manage.approve(store, caller, publisher, {creative: body.hash}, body.state, now())

    @api.route(
        "/v1/changes",
        "GET",
        scopes=ALL,
        answer=ChangePage,
        problems=(422,),
        query={"after": {"type": "integer", "minimum": 0}, "limit": _QUERY["limit"]},
    )
    def list_changes(caller: Caller) -> ChangePage:
        """List what was changed in the catalogue, oldest first."""
        after, limit = asked_page(_NUMBER, "a whole number from 0 on")
        return ChangePage(*changes.page(store, caller, int(after or 0), limit))

    @api.route(
        "/v1/changes/<kind>/<id>",
        "GET",
        scopes=ALL,
        answer=ChangePage,
        problems=(404, 422),
        path={"kind": {"type": "string", "enum": list(KINDS)}, "id": id_schema()},
        query={"limit": _QUERY["limit"]},
    )
    def list_changes_of(caller: Caller, kind: str, id: str) -> ChangePage:
        """List the changes of one thing, the latest first."""
        _, limit = asked_page()
        with told():
            if kind not in KINDS:
                raise NotFound(f"kind: got {ascii(kind[:80])}")
            return ChangePage(changes.of(store, caller, kind, id, limit), None)


def _add_kind(
    api: Api,
    store: manage.ManageStore,
    known: Known,
    now: Callable[[], datetime],
    kind: Kind,
    cls: type[Entity],
) -> None:
    many = f"/v1/{kind}s"
    one = f"{many}/<id>"
    path = {"id": id_schema()}

    def list_things(caller: Caller) -> Page[Any]:
        after, limit = asked_page()
        found = manage.list_page(store, caller, kind, after, limit)
        return Page(tuple(found), found[-1].id if len(found) == limit else None)

    def get_thing(caller: Caller, id: str) -> Entity:
        with told():
            return manage.get(store, caller, kind, id)

    def put_thing(caller: Caller, id: str, body: bytes) -> Response:
        with told():
            done = manage.put(store, known, caller, kind, id, body, now())
        return reply(Stored(done.entity, done.warnings), 201 if done.created else 200)

    def delete_thing(caller: Caller, id: str) -> None:
        with told():
            manage.delete(store, caller, kind, id, now())

    writers = WRITERS[kind]
    removers = tuple(scope for scope in writers if scope != "publisher")
    page: Any = Page[cls]  # type: ignore[valid-type]  # msgspec makes the type of this class
    stored: Any = Stored[cls]  # type: ignore[valid-type]
    name = f"{kind}s"
    api.route(many, "GET", name=f"list_{name}", summary=f"List {name}", scopes=ALL, answer=page, query=_QUERY,
              problems=(422,))(list_things)  # fmt: skip
    api.route(one, "GET", name=f"get_{kind}", summary=f"Read a {kind}", scopes=ALL, answer=cls, path=path,
              problems=(404,))(get_thing)  # fmt: skip
    api.route(one, "PUT", name=f"put_{kind}", summary=f"Create or replace a {kind}", scopes=writers,
              body=_body_of(kind, cls), answer=stored, statuses=(200, 201), path=path, problems=(404, 409),
              max_bytes=MAX_BYTES, as_bytes=True)(put_thing)  # fmt: skip
    api.route(one, "DELETE", name=f"delete_{kind}", summary=f"Remove a {kind}", scopes=removers, path=path,
              problems=(404, 409))(delete_thing)  # fmt: skip


def _body_of(kind: Kind, cls: type[Entity]) -> Any:
    """Give the type of a PUT body: the path says kind and id."""
    fields = [
        (field.name, hint) if field.required else (field.name, hint, msgspec.field(**_default(field)))
        for field in msgspec.structs.fields(cls)
        if field.name != "id" and (hint := field.type) is not None
    ]
    return msgspec.defstruct(f"{kind.title()}Body", fields, forbid_unknown_fields=True)


def _default(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    if field.default_factory is not msgspec.NODEFAULT:
        return {"default_factory": field.default_factory}
    return {"default": field.default}


def id_schema() -> dict[str, str]:
    """Describe an id in a path."""
    return {"type": "string", "pattern": ID}


def asked_page(form: re.Pattern[str] = _ID, expected: str = "one id, 1-64 characters") -> tuple[str, int]:
    """Read `after`, of this form, and `limit` from the query. Raises Refused."""
    faults = []
    after, limit = request.args.getlist("after"), request.args.getlist("limit")
    if after and not (len(after) == 1 and form.match(after[0])):
        faults.append(Fault("after", "something else", expected))
    if limit and not (len(limit) == 1 and _LIMIT.fullmatch(limit[0]) and int(limit[0]) <= MAX_LIMIT):
        faults.append(Fault("limit", "something else", f"one whole number from 1 to {MAX_LIMIT}"))
    if faults:
        raise Refused(422, "Invalid query", None, faults)
    return after[0] if after else "", int(limit[0]) if limit else 100


@contextmanager
def told() -> Iterator[None]:
    """Answer the engine's refusals as problems."""
    try:
        yield
    except CatalogErrors as errors:
        faults = map(_fault, errors.errors[:MAX_FAULTS])
        raise Refused(422, "Invalid body", None, faults) from None
    except NotFound:
        raise Refused(404, "Unknown", "There is no such thing, or it is not yours.") from None
    except Forbidden as error:
        raise Refused(403, "Not yours to change", str(error)) from None
    except CatalogConflict as error:
        raise Refused(409, "Conflict", str(error)) from None


def _fault(error: CatalogError) -> Fault:
    within = "" if error.field in ("(body)", "(object)") else error.field
    if error.unknown_field:  # `got` is its name
        return Fault(
            f"{within}.{word(error.got)}" if within else word(error.got), "unknown field", error.expected
        )
    return Fault(within or "$", error.got, error.expected)
