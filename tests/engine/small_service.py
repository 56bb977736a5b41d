"""A small service behind the real gate: answers, logs, keeps rows in SQLite, lets the gate's words act."""

from __future__ import annotations

import json
import logging
import sqlite3
from pathlib import Path

from flask import Flask, Response, request

from engine.openrtb.asked import page_of
from engine.openrtb.wire import decode_request
from engine.prove.twins import AUCTION, Chance, Clock, Request, Service
from privacy.gate import ARRIVAL, Arrival, Gate, enter

log = logging.getLogger("small")

OPERATOR = "tactful_operator_" + "0" * 16 + "_" + "0" * 64
ORIGIN = "https://daily.example"
BODY = json.dumps({"publisher": "daily", "page": {"url": f"{ORIGIN}/sport/bikes", "title": "Bikes"}}).encode()
REQUESTS = (
    Request("POST", "/decide", BODY, {"Content-Type": "application/json"}),
    Request("POST", "/decide", BODY, {"Content-Type": "text/plain", "Sec-GPC": "1"}, mute=True),
    Request("GET", "/health"),
    Request("GET", f"/slot?url={ORIGIN}/sport/bikes"),
    Request(
        "POST",
        AUCTION,
        json.dumps({"id": "a", "imp": [{"id": "1"}], "site": {"page": f"{ORIGIN}/sport"}}).encode(),
        {"Content-Type": "text/plain", "Origin": ORIGIN},
    ),
    Request("OPTIONS", "/decide", b"", {"Access-Control-Request-Method": "POST"}),
    Request("GET", "/nowhere"),
)


def make_service(clock: Clock, chance: Chance, folder: Path) -> Service:
    """Start it."""
    app = Flask("small", static_folder=None)
    queue: list[tuple[str, str]] = []

    @app.post("/decide")
    def decide() -> Response:
        arrival: Arrival = request.environ[ARRIVAL]
        body = json.loads(request.get_data())
        visit = enter(arrival, body["publisher"], url=body["page"]["url"], title=body["page"]["title"])
        request_id = chance(8).hex()
        queue.append((clock().isoformat(), repr((visit.page.url, visit.device, visit.ivt))))
        log.info("decided", extra={"ivt": visit.ivt})
        answer = {
            "request_id": request_id,
            "device": f"{visit.device.cls} {visit.device.platform}",
            "click_url": f"https://ads.example/click/{request_id}",
            "why_url": "https://ads.example/why/bikes",
            "image_url": "https://ads.example/images/bikes.png",
            "gpc": visit.gpc,
        }
        headers = {"Vary": "Origin"}
        if arrival.origin == ORIGIN:
            headers["Access-Control-Allow-Origin"] = ORIGIN
        return Response(json.dumps(answer), mimetype="application/json", headers=headers)

    @app.post(AUCTION)
    def auction() -> Response:
        arrival: Arrival = request.environ[ARRIVAL]
        asked = decode_request(request.get_data())
        visit = enter(arrival, "daily", **page_of(asked))
        queue.append((clock().isoformat(), repr((visit.page.url, visit.device))))
        answer = Response(json.dumps({"id": asked.id, "nbr": 501}), mimetype="application/json")
        if arrival.origin == ORIGIN:
            answer.headers["Access-Control-Allow-Origin"] = ORIGIN
            answer.headers["Access-Control-Allow-Credentials"] = "true"
        return answer

    @app.get("/click/<token>")
    def click(token: str) -> Response:
        queue.append((clock().isoformat(), token))
        return Response(status=204)

    @app.get("/why/<token>")
    def why(token: str) -> str:
        return f'<form method="post" action="/why/{token}"><button name="vote" value="7">No</button></form>'

    @app.post("/why/<token>")
    def vote(token: str) -> str:
        return request.form["vote"]

    @app.get("/images/bikes.png")
    def image() -> Response:
        return Response(b"bikes", mimetype="image/png")

    @app.get("/slot")
    def slot() -> str:
        return repr(enter(request.environ[ARRIVAL], "daily", url=request.args["url"]).page.url)

    @app.get("/metrics")
    def metrics() -> str:
        return "all 7\n" if request.environ[ARRIVAL].api_key == OPERATOR else ""

    @app.get("/health")
    def health() -> str:
        return "ok"

    connection = sqlite3.connect(folder / "small.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("CREATE TABLE views (at TEXT, what TEXT)")

    def settle() -> None:
        for row in queue:
            connection.execute("INSERT INTO views VALUES (?, ?)", row)
        queue.clear()

    gate = Gate(
        app.wsgi_app, public_url="https://ads.example", registered=ORIGIN.__eq__, query_keys=("after", "url")
    )
    return Service(gate, settle, connection.close, OPERATOR)
