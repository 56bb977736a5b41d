"""The real service as a twin: a small catalogue, every object of `engine.services`, the real app and gate."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from engine.campaign import Advertiser, Campaign, Publisher, Suitability
from engine.change import Change, Entity
from engine.config import Config
from engine.creative import Creative
from engine.prove.no_identity import Verdict, prove, score
from engine.prove.twins import Chance, Clock, MakeService, Request, Service
from engine.services import Services
from engine.store import open_store
from engine.web import create_app

PUBLISHER = "proof"
SITE = "https://www.proof.example"
_SETTLED_S = 30.0

_ARTICLE = (
    "Gravel bikes take riders over forest roads and cobbled lanes alike. Wide tyres, a long wheelbase and an "
    "upright saddle make a long cycling tour through the autumn rain comfortable, and a jacket does the rest."
)


def prove_no_identity(planted: bool = True) -> Verdict:
    """Prove it of the service as it is built here; with `planted`, measure the proof by planted leaks too."""
    with tempfile.TemporaryDirectory(prefix="tactful-proof-") as name:
        folder = Path(name)
        make = real_service(folder / "models")
        verdict = prove(make, requests(), folder / "twins")
        if not planted:
            return verdict
        return replace(verdict, planted=score(make, requests()[:1], folder / "planted"))


def requests() -> tuple[Request, ...]:
    """Give what a reader's browser may ask of the service."""
    plain = {"Content-Type": "application/json"}
    return (
        Request(
            "POST",
            "/v1/decisions",
            _decision("/sport/gravel-bikes", text=_ARTICLE),
            {"Content-Type": "text/plain"},
        ),
        Request(
            "POST", "/v1/decisions", _decision("/sport/gravel-bikes", explain=True), {**plain, "Sec-GPC": "1"}
        ),
        Request("POST", "/v1/decisions", _decision("/news/rain", title="Rain"), {**plain, "Origin": SITE}),
        Request("POST", "/v1/decisions", b'{"publisher":"nobody"}', plain),
        Request("OPTIONS", "/v1/decisions", b"", {"Access-Control-Request-Method": "POST"}),
        Request("GET", "/healthz"),
        Request("GET", "/nowhere"),
    )


def real_service(models: Path) -> MakeService:
    """Make services that share a folder of exported models, which holds nothing of their requests."""

    def make(clock: Clock, chance: Chance, folder: Path) -> Service:
        data = folder / "data"
        data.mkdir()
        models.mkdir(parents=True, exist_ok=True)
        (data / "models").symlink_to(models, target_is_directory=True)
        config = Config(data_dir=data, key_dir=folder / "keys", public_url="https://ads.example")
        _fill(config, clock())
        services = Services(config, now=clock, monotonic=lambda: clock().timestamp(), random_bytes=chance)
        services.warm_up()
        queues = (services.background, services.pages.background)
        for queue in queues:
            queue.start()

        def settle() -> None:
            for queue in queues:
                if not queue.wait(_SETTLED_S):
                    raise TimeoutError(f"work off the path: not done within {_SETTLED_S:.0f} s")
            services.refresh()

        return Service(create_app(config, services).wsgi_app, settle, services.close)

    return make


def _fill(config: Config, now: datetime) -> None:
    store = open_store(f"sqlite:///{config.database}")
    suits_all = Suitability(avoid=(), accept_unknown=True)
    lines = ("Tyres for every road", "A jacket that keeps you dry", "Tours with company")
    entities: list[Entity] = [
        Publisher(id=PUBLISHER, name="The Proof", domains=("www.proof.example",)),
        Advertiser(id="wheels", name="Wheels", domains=("wheels.example",)),
        Campaign(
            id="autumn", advertiser="wheels", name="Autumn", cpm_micros=1_000_000, suitability=suits_all
        ),
        *(
            Creative(
                id=f"autumn-{number}",
                campaign="autumn",
                format="native",
                headline=line,
                landing_url="https://wheels.example/",
            )
            for number, line in enumerate(lines)
        ),
    ]
    store.write([Change(None, entity) for entity in entities], [], store.versions(), "proof", now)
    store.close()


def _decision(path: str, **page: object) -> bytes:
    explain = bool(page.pop("explain", False))
    placements = [{"id": "top"}, {"id": "side", "count": 2}]
    body = {"publisher": PUBLISHER, "placements": placements, "page": {"url": f"{SITE}{path}", **page}}
    return json.dumps({**body, "explain": explain}).encode()
