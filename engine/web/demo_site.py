"""Puts the demo's pages before a running service."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from flask import Flask, request

from engine.decision import Answer
from engine.demo.magazine import CATALOG, HERE, read_articles, read_catalog
from engine.services import Services
from engine.web.demo import PUBLISHER, QUERY_KEYS, DemoRequest, create_blueprint
from privacy.gate import ARRIVAL, Arrival, enter


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

    app.register_blueprint(
        create_blueprint(decide, read_articles(HERE / "articles"), read_catalog(CATALOG), now, device)
    )
    return QUERY_KEYS
