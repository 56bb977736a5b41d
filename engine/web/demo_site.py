"""Puts the demo's pages before a running service."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from flask import Flask, abort, request

from engine.decision import Answer
from engine.demo.magazine import CATALOG, HERE, read_articles, read_catalog
from engine.demo.readers import GRANT
from engine.errors import StoreError
from engine.services import Services
from engine.web.demo import PUBLISHER, QUERY_KEYS, Agreed, DemoRequest, create_blueprint
from privacy.gate import ARRIVAL, FOREIGN, Arrival, enter


def add_demo(app: Flask, services: Services) -> tuple[str, ...]:
    """Add the demo's pages to an app; return the query parameters that they read."""

    def decide(view: DemoRequest) -> Answer:
        arrival: Arrival = request.environ[ARRIVAL]
        visit = enter(
            arrival,
            PUBLISHER,
            url=view.url,
            title=view.title,
            description=view.description,
            text=view.text,
            html=view.html,
            device_class=view.device,
            at=view.at,
            country=view.country,
            condition=view.condition,
            temperature_c=view.temperature_c,
        )
        deadline = services.monotonic() + services.config.deadline_ms / 1000
        return services.engine.decide(visit, view.placements, explain=True, deadline=deadline)

    def now() -> datetime:
        return services.now().astimezone(ZoneInfo(services.publishers()[PUBLISHER].timezone))

    def device() -> str:
        arrival: Arrival = request.environ[ARRIVAL]
        return arrival.device.cls

    def agree() -> Agreed | None:
        arrival: Arrival = request.environ[ARRIVAL]
        if arrival.origin == FOREIGN:  # another site's page cannot agree for its reader
            abort(403)
        if services.consents is None or services.consents_off() is not None:
            return None
        try:
            given = services.consents.grant(services.publishers()[PUBLISHER], None, GRANT)
        except StoreError:
            return None
        return Agreed(given.token, given.rights_token, given.record, given.row.expires.isoformat())

    app.register_blueprint(
        create_blueprint(
            decide,
            read_articles(HERE / "articles"),
            read_catalog(CATALOG),
            now,
            device,
            agree,
            services.config.base_url,
        )
    )
    return QUERY_KEYS
