"""What it costs to put messages together: `python -m benchmarks assembly`.

First 200 candidates of 625 messages each, nothing of which was worked out before: their responses in every world, the
ranking of one, the winner's chances and a draw. Then whole decisions on known pages over those creatives beside an
empty Flask view, both called in this process as WSGI; CPU a request.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.catalogue import HOST, PUBLISHER, add_folder
from benchmarks.empty import make_app as empty_app
from contexts.context import PageFacts
from contexts.encode import unit
from engine.campaign import Advertiser, Campaign, Publisher, Suitability
from engine.chance import Chance
from engine.change import Change, Entity
from engine.config import Config
from engine.creative import Creative, OfferPart, Parts, TextPart
from engine.decide import Engine
from engine.decision import Placement
from engine.learn.diet import Component
from engine.learn.response import VERSION, Model
from engine.rank import Standing, share_out
from engine.scene import Scene, Settled
from engine.services import Services
from engine.web import create_app
from engine.worlds import WORLDS, worlds_of

CREATIVES, EACH = 200, 5
BOUND_US, RATIO = 300.0, 5.0
SLOTS = ("headline", "body", "cta")


def main(argv: Sequence[str]) -> int:
    """Print both; return 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks assembly", description=__doc__)
    add_folder(parser)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    asked = parser.parse_args(argv)
    rounds = 200 if asked.quick else 2000
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        models = asked.folder.absolute() / "models"
        models.mkdir(parents=True, exist_ok=True)
        (data / "models").symlink_to(models, target_is_directory=True)
        config = Config(
            data_dir=data, key_dir=Path(folder) / "keys", weather="none", public_url="https://ads.example"
        )
        services = Services(config)
        try:
            _fill(services)
            services.refresh()
            services.warm_up()
            missed = _assembled(services.engine, rounds)
            missed |= _decided(services, rounds)
        finally:
            services.close()
    return int(missed)


def _fill(services: Services) -> None:
    now, store = datetime.now(UTC), services.store
    things: list[Entity] = [
        Publisher(id=PUBLISHER, name="Bench", domains=(HOST,), country="DE", rate_per_s=1_000_000)
    ]
    things.append(Advertiser(id="a", name="A", domains=("a.example",)))
    suits = Suitability(avoid=(), accept_unknown=True)
    things += [
        Campaign(id=f"k{n}", advertiser="a", name="K", cpm_micros=1_000_000 + n, suitability=suits)
        for n in range(20)
    ]
    said = {
        slot: tuple(TextPart(f"{slot[0]}{n}", f"{slot} number {n} of a soup") for n in range(EACH))
        for slot in SLOTS
    }
    offers = tuple(OfferPart(f"o{n}", f"Less {n}") for n in range(EACH))
    parts = Parts(said["headline"], said["body"], (), said["cta"], offers)
    things += [
        Creative(
            id=f"c{n}", campaign=f"k{n % 20}", format="native", headline="Soup", parts=parts,
            landing_url="https://a.example/",
        )
        for n in range(CREATIVES)
    ]  # fmt: skip
    store.write([Change(None, thing) for thing in things], [], store.versions(), "bench", now)
    services.refresh()
    model = _model([f"c{n}" for n in range(CREATIVES)], parts)
    store.put_policy(model.id, model.body, now)
    store.act("promote", model.id, "bench", now)
    services.follow_policy()


def _model(creatives: Sequence[str], parts: Parts) -> Model:
    draw = np.random.default_rng(1)
    named = ("", *(f"{slot}/{part.id}" for slot, some in parts.lists for part in some))
    components: tuple[Component, ...] = tuple(sorted((c, part) for c in creatives for part in named))
    columns = (
        "",
        *(f"part={p}" for p in ("night", "morning", "midday", "afternoon", "evening")),
        "device=desktop",
    )
    shape = (len(components), len(columns))
    mean, variance = draw.normal(0, 0.1, shape), np.full(shape, 0.01)
    rows = [tuple(map(tuple, table.tolist())) for table in (mean, variance, np.full(shape, 0.5))]
    return Model(VERSION, 1, 20_000, 0.005, columns, components, *rows, (1.0,) * len(components))


def _assembled(engine: Engine, rounds: int) -> bool:
    """Time the joint choice over all candidates, each time on a scene of which nothing is kept."""
    view = engine.catalog.view(datetime.now(UTC))
    page = PageFacts(
        "p",
        view.snapshot.manifest.encoder_id,
        unit(np.ones((1, view.snapshot.layout.page_dim), np.float32))[0],
    )
    context = engine.gatherer.on_page(view.snapshot.publishers[PUBLISHER], page, datetime.now(UTC))
    scene = engine.scene_of(view, context)
    place = Placement("top")
    listed = engine.matcher.shortlist(scene, place, most=CREATIVES)
    for row in listed.rows.tolist():  # what a snapshot holds of its creatives is made once
        engine.messages.mixture(scene, place, row, "other")
    chance, times = Chance(os.urandom), []
    for _ in range(rounds):
        fresh = Scene(scene.kept, context, scene.key, Settled())
        began = time.perf_counter()
        worlds = worlds_of(fresh, engine.gatherer.facets(context), [place], [listed], [1], Standing())
        world = chance.below(WORLDS)
        (picks,) = share_out([listed.under(worlds.responses[0][:, world])], [1])
        mixture = engine.messages.mixture(fresh, place, picks[0].row, "other")
        if mixture is None:
            raise RuntimeError("the winner has no messages")
        mixture.chosen(mixture.draw(chance.share()))
        times.append((time.perf_counter() - began) * 1e6)
    middle, high = statistics.median(times), sorted(times)[int(rounds * 0.99)]
    print(
        f"{len(listed)} candidates × {len(mixture.mixer.messages)} messages: median {middle:.0f} µs, "
        f"p99 {high:.0f} µs (bound {BOUND_US:.0f})"
    )
    if middle > BOUND_US:
        print("MISSED: assembly, sampling and propensity")
    return middle > BOUND_US


def _decided(services: Services, rounds: int) -> bool:
    """Time whole decisions beside an empty view, in turns."""
    body = json.dumps(
        {
            "publisher": PUBLISHER,
            "placements": [{"id": "top", "formats": ["native"]}],
            "page": {
                "title": "Three soups for a wet week",
                "text": "Slice three leeks and let them go soft in butter. " * 20,
            },
            "explain": True,
        }
    ).encode()
    ours, floor = create_app(services.config, services).wsgi_app, empty_app(b"{}").wsgi_app
    _call(ours, "/v1/decisions", body)  # the page is understood, whatever that takes
    told = json.loads(_call(ours, "/v1/decisions", body))
    if "message" not in told["decisions"][0]:
        raise RuntimeError("the decision shows no message")
    spent: dict[str, list[float]] = {"ours": [], "floor": []}
    for _ in range(10):
        for name, app, path in (("ours", ours, "/v1/decisions"), ("floor", floor, "/v1/decisions")):
            began = time.process_time()
            for _ in range(rounds // 5):
                _call(app, path, body)
            spent[name].append((time.process_time() - began) * 5e6 / rounds)
    ratio = statistics.median(o / f for o, f in zip(spent["ours"], spent["floor"], strict=True))
    print(
        f"whole decision on a known page: {statistics.median(spent['ours']):.0f} µs, an empty view "
        f"{statistics.median(spent['floor']):.0f} µs, {ratio:.2f} × (bound {RATIO:.0f})"
    )
    if ratio > RATIO:
        print("MISSED: a whole decision")
    return ratio > RATIO


def _call(app: Callable[..., Any], path: str, body: bytes) -> bytes:
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "QUERY_STRING": "", "SERVER_NAME": "bench", "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": BytesIO(body),
        "wsgi.errors": BytesIO(), "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False,
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)), "SCRIPT_NAME": "",
        "REMOTE_ADDR": "127.0.0.1",
    }  # fmt: skip
    status: list[str] = []

    def start(told: str, headers: Any, exc_info: Any = None) -> Any:
        status.append(told)

    answer = b"".join(app(environ, start))
    if not status[0].startswith("2"):
        raise RuntimeError(f"{path}: {status[0]}: {answer[:300]!r}")
    return answer
