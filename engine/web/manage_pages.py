"""/manage: campaigns, flights and creatives of an advertiser, approvals and the stop of a publisher, as plain HTML.

There is no session, no cookie and no script: each form sends the key in its body, so that no other site's form can act
for who holds it. Every page is the answer to one such form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any, cast

import msgspec
from flask import Response, request
from jinja2 import Environment, PackageLoader

from engine import changes, manage
from engine.campaign import Campaign, Publisher
from engine.change import Entity, Kind, content_hash
from engine.check.findings import Known
from engine.creative import Creative
from engine.errors import CatalogConflict, CatalogError, CatalogErrors, Forbidden, NotFound, Overtaken
from engine.keys import Caller
from engine.web.api import Api
from engine.web.form_fields import Group, amount, key_sent, shown, texts_of, value_of
from engine.web.manage_fields import ADVERTISER, CAMPAIGN, CREATIVE, ID
from engine.web.report_pages import HEADERS as REPORT_HEADERS

# As for reports; pictures and the frames of previews are its own.
HEADERS = tuple(
    (name, f"{value}; img-src 'self'; frame-src 'self'" if name == "Content-Security-Policy" else value)
    for name, value in REPORT_HEADERS
)
PAGE = 50  # things listed at once
HISTORY = 10  # changes shown beside a thing
ASKED: Mapping[str, str] = {
    "amount": "an amount such as 2.50",
    "whole": "a whole number",
    "number": "a number",
    "size": "width and height such as 300x250",
    "json": "a rule in JSON",
    "moment": "a date and time that the time zone has: a clock set forward leaves out an hour",
}
_GROUPS: Mapping[Kind, tuple[Group, ...]] = {"campaign": CAMPAIGN, "creative": CREATIVE}
_SHOWN = (200, 401, 403, 404, 409, 422)  # all of them with a page


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one form asks: by whom, and to do what."""

    caller: Caller
    key: str
    do: str

    def text(self, name: str) -> str:
        """Return a field of the form; empty where it is left out."""
        return request.form.get(name, "").strip()


def add_manage_pages(
    api: Api,
    store: changes.ChangeStore,
    known: Known,
    caller_of: Callable[[str], Caller | None],
    currency: str,
    now: Callable[[], datetime],
    root: str,
) -> None:
    """Add the pages. `root` is the path under which the service is reached."""
    pages = Environment(loader=PackageLoader("engine", "web/templates/manage"), autoescape=True)
    pages.filters["amount"] = amount
    style = "\n".join(
        files("engine").joinpath("web", "static", name, f"{name}.css").read_text("utf-8")
        for name in ("reports", "manage")
    )
    desk = _Desk(store, known, currency, now)

    def page(name: str, status: int = 200, **values: Any) -> Response:
        text = pages.get_template(name).render(root=root, currency=currency, **values)
        return Response(text, status, HEADERS, content_type="text/html; charset=utf-8")

    @api.route("/manage", "GET", answer=str, answer_media="text/html")
    def manage_page() -> Response:
        """Open the page that asks for a key."""
        return page("key.html", title="Manage", fault=None)

    @api.route("/manage/manage.css", "GET", answer=str, answer_media="text/css")
    def manage_style() -> Response:
        """Load the pages' style."""
        return Response(style, 200, HEADERS, content_type="text/css; charset=utf-8")

    @api.raw(
        "/manage",
        "POST",
        name="manage",
        answer=str,
        answer_media="text/html",
        statuses=_SHOWN,
        problems=(413,),
    )
    def do_manage() -> Response:
        """Do what a form asks, and show what there is now, to who sends a key."""
        key = key_sent()
        caller = caller_of(key)
        if caller is None:
            return page("key.html", 401, title="Manage", fault="This key is not valid.")
        asked = _Asked(caller, key, request.form.get("do", ""))
        try:
            name, status, values = desk.answer(asked)
        except NotFound:
            name, status, values = (
                "told.html",
                404,
                _told("Not found", "There is no such thing, or it is not yours."),
            )
        except Forbidden as error:
            name, status, values = "told.html", 403, _told("Not yours to change", str(error))
        except CatalogConflict as error:
            name, status, values = "told.html", 409, _told("Changed meanwhile", str(error))
        return page(name, status, key=key, scope=caller.scope, tenant=caller.tenant, **values)


def _told(title: str, text: str) -> dict[str, Any]:
    return {"title": title, "fault": text}


class _Desk:
    """Answers what forms ask: the name of a page, its status and its values."""

    def __init__(
        self, store: changes.ChangeStore, known: Known, currency: str, now: Callable[[], datetime]
    ) -> None:
        self._store, self._known, self._currency, self._now = store, known, currency, now

    def answer(self, asked: _Asked) -> tuple[str, int, dict[str, Any]]:
        """Do what is asked. Raises NotFound, Forbidden and CatalogConflict."""
        if asked.caller.scope == "publisher":
            return self._publishers(asked)
        if asked.caller.scope == "compliance":
            raise Forbidden(
                "scope: a key of compliance reads the API; these pages are for who changes things"
            )
        match asked.do:
            case "campaign":
                return self._form(asked, "campaign", self._get(asked, "campaign"))
            case "new-campaign":
                return self._form(asked, "campaign", None)
            case "creative":
                return self._form(asked, "creative", self._get(asked, "creative"))
            case "new-creative":
                manage.get(self._store, asked.caller, "campaign", asked.text("campaign"))
                return self._form(asked, "creative", None)
            case "save-campaign":
                return self._save(asked, "campaign")
            case "save-creative":
                return self._save(asked, "creative")
            case "pause" | "resume":
                return self._switch(asked)
        return self._campaigns(asked)

    def _campaigns(self, asked: _Asked) -> tuple[str, int, dict[str, Any]]:
        after = asked.text("after")
        found = manage.list_page(self._store, asked.caller, "campaign", after, PAGE)
        return (
            "campaigns.html",
            200,
            {
                "title": "Campaigns",
                "campaigns": found,
                "after": found[-1].id if len(found) == PAGE else None,
            },
        )

    def _get(self, asked: _Asked, kind: Kind) -> Entity:
        return manage.get(self._store, asked.caller, kind, asked.text("id"))

    def _form(
        self,
        asked: _Asked,
        kind: Kind,
        entity: Entity | None,
        *,
        given: Mapping[str, list[str]] | None = None,
        errors: CatalogErrors | None = None,
        said: str | None = None,
        overtaken: bool = False,
    ) -> tuple[str, int, dict[str, Any]]:
        """Show the form of a thing: as it is stored, or as it was given with what is wrong in it.

        `overtaken`: something else was stored since it was opened.
        """
        groups = _GROUPS[kind]
        if entity is None:
            whose = kind == "campaign" and asked.caller.tenant is None
            groups = (Group("Id", (ID, ADVERTISER) if whose else (ID,)), *groups)
        value = {} if entity is None else manage.plain(entity)
        campaign = entity if isinstance(entity, Campaign) else self._campaign_of(asked, entity)
        zone = "UTC" if campaign is None else campaign.flight.timezone
        fields = [field for group in groups for field in group.fields]
        texts = given if given is not None else texts_of(fields, value, zone)
        kinds = {field.path: field.kind for field in fields}
        faults = [
            (e.field, f"got {e.got}, expected {_expected(e, kinds.get(e.field, 'text'))}")
            for e in (errors.errors if errors else ())
        ]
        told, listed = shown(groups, texts, faults)
        id = entity.id if entity is not None else asked.text("id")
        creatives: list[Creative] = []
        history: tuple[changes.Changed, ...] = ()
        if entity is not None:
            if isinstance(entity, Campaign):
                creatives = [
                    c for c in self._store.creatives_of(entity.advertiser) if c.campaign == entity.id
                ]
            history = changes.of(self._store, asked.caller, kind, entity.id, HISTORY)
        return (
            "edit.html",
            422 if errors else 409 if overtaken else 200,
            {
                "title": f"{kind.title()} {id}" if entity is not None else f"New {kind}",
                "kind": kind,
                "entity": entity,
                "id": id,
                "campaign": campaign.id if campaign is not None else asked.text("campaign"),
                "groups": told,
                "faults": listed,
                "creatives": creatives[:PAGE],
                "more_creatives": max(0, len(creatives) - PAGE),
                "history": history,
                "seen": "" if entity is None else content_hash(entity),
                "said": said,
                "overtaken": overtaken,
            },
        )

    def _campaign_of(self, asked: _Asked, entity: Entity | None) -> Campaign | None:
        """Return the campaign to which a creative's form belongs."""
        id = entity.campaign if isinstance(entity, Creative) else asked.text("campaign")
        found = self._store.find("campaign", [id]).get(id) if id else None
        return found if isinstance(found, Campaign) else None

    def _save(self, asked: _Asked, kind: Kind) -> tuple[str, int, dict[str, Any]]:
        id, seen = asked.text("id"), asked.text("seen")
        entity = self._get(asked, kind) if seen else None
        fields = [field for group in _GROUPS[kind] for field in group.fields]
        base = {} if entity is None else manage.plain(entity)
        if entity is None and kind == "campaign":
            base["advertiser"] = asked.caller.tenant or asked.text("advertiser")
        elif entity is None:
            base["campaign"] = asked.text("campaign")
        campaign = self._campaign_of(asked, entity)
        zone = (
            asked.text("flight.timezone")
            if kind == "campaign"
            else campaign.flight.timezone
            if campaign
            else ""
        )
        given = request.form.to_dict(flat=False)
        body = msgspec.json.encode(value_of(fields, given, base, zone or "UTC"))
        if entity is not None and content_hash(entity) != seen:
            return self._overtaken(asked, kind, body, given)
        try:
            done = manage.put(
                self._store, self._known, asked.caller, kind, id, body, self._now(), over=manage.Over(entity)
            )
        except CatalogErrors as errors:
            return self._form(asked, kind, entity, given=given, errors=errors)
        except Overtaken:
            return self._overtaken(asked, kind, body, given)
        warned = "".join(f" {warning}" for warning in done.warnings)
        return self._form(asked, kind, done.entity, said=f"Saved.{warned}")

    def _overtaken(
        self, asked: _Asked, kind: Kind, body: bytes, given: Mapping[str, list[str]]
    ) -> tuple[str, int, dict[str, Any]]:
        """Answer a form where something else stands by now. What was typed is not lost; raises NotFound."""
        id = asked.text("id")
        try:
            stands = self._get(asked, kind)
        except NotFound:
            if asked.text("seen"):
                raise
        else:
            if manage.says(kind, id, body, stands):  # the form was sent twice
                return self._form(asked, kind, stands, said="Saved.")
            if asked.text("seen"):
                return self._form(asked, kind, stands, given=given, overtaken=True)
        taken = CatalogErrors([CatalogError("id", ascii(id[:80]), f"an id that no {kind} has yet")], 1)
        return self._form(asked, kind, None, given=given, errors=taken)

    def _switch(self, asked: _Asked) -> tuple[str, int, dict[str, Any]]:
        kind: Kind = "creative" if asked.text("kind") == "creative" else "campaign"
        status = "paused" if asked.do == "pause" else "active"
        done = manage.edit(
            self._store, self._known, asked.caller, kind, asked.text("id"),
            lambda value: {**value, "status": status}, self._now(),
        )  # fmt: skip
        acts = "It stops within 5 seconds." if status == "paused" else "It runs again within 5 seconds."
        return self._form(asked, kind, done.entity, said=acts)

    def _publishers(self, asked: _Asked) -> tuple[str, int, dict[str, Any]]:
        """Show a publisher's approvals, after what the form asks was done."""
        own = asked.caller.tenant or ""
        publisher = cast(Publisher, manage.get(self._store, asked.caller, "publisher", own))
        said = None
        if asked.do in ("approved", "rejected"):
            hashes = {asked.text("creative"): asked.text("hash")}
            manage.approve(self._store, asked.caller, own, hashes, cast(Any, asked.do), self._now())
            said = f"{asked.text('creative')} is {asked.do}. It acts within 5 seconds."
        elif asked.do in ("stop", "start", "block", "unblock"):
            publisher = self._stop(asked, publisher)
            said = "It acts within 5 seconds in every worker."
        after = asked.text("after")
        reviews = manage.review(self._store, asked.caller, own, after, PAGE)
        campaigns = self._store.find("campaign", sorted({one.creative.campaign for one in reviews}))
        return (
            "approvals.html",
            200,
            {
                "title": f"Creatives on {publisher.name}",
                "publisher": publisher,
                "reviews": sorted(reviews, key=lambda one: one.state is not None),
                "advertisers": {
                    id: one.advertiser for id, one in campaigns.items() if isinstance(one, Campaign)
                },
                "after": reviews[-1].creative.id if len(reviews) >= PAGE else None,
                "said": said,
            },
        )

    def _stop(self, asked: _Asked, publisher: Publisher) -> Publisher:
        """Stop everything on a publisher's pages or one advertiser, or let it run again."""
        try:
            done = manage.edit(
                self._store, self._known, asked.caller, "publisher", publisher.id,
                lambda value: {**value, **_stopped(value, asked.do, asked.text("advertiser"))}, self._now(),
            )  # fmt: skip
        except CatalogErrors as errors:
            raise Forbidden(str(errors)) from errors
        return cast(Publisher, done.entity)


def _expected(error: CatalogError, kind: str) -> str:
    """Say what a field asks for to who typed a text that does not read so; else what the catalogue says."""
    unread = error.got.startswith(("'", '"')) and (kind != "moment" or "with an offset" in error.expected)
    return ASKED.get(kind, error.expected) if unread else error.expected


def _stopped(value: Mapping[str, Any], do: str, advertiser: str) -> dict[str, Any]:
    """Return what a publisher's record says anew where all is stopped or one advertiser blocked, or no longer."""
    if do in ("stop", "start"):
        return {"status": "stopped" if do == "stop" else "active"}
    others = [one for one in value.get("block_advertisers", ()) if one != advertiser]
    return {"block_advertisers": [*others, advertiser] if do == "block" else others}
