"""The real service as a twin: a small catalogue, every object of `engine.services`, the real app and gate."""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlencode

from contexts.first_party import FirstParty
from engine.campaign import Advertiser, Campaign, Flight, Jwk, Jwks, Publisher, Rule, Suitability, Targeting
from engine.change import Change, Entity
from engine.config import Config
from engine.consent_row import ConsentRow
from engine.creative import Creative, Image, Only, Parts, TextPart
from engine.images import HostedImage
from engine.keys import create_key
from engine.prove.consents import (
    AGREED,
    COHORT,
    GENERATION,
    ISSUER,
    RECORD,
    USED_ID,
    USED_NONCE,
    WITHDREW,
)
from engine.prove.no_identity import Verdict, prove, score
from engine.prove.twins import AUCTION, Chance, Clock, MakeService, Request, Service
from engine.services import Services
from engine.shared_values import LATE, K, release_query
from engine.store import open_store
from engine.web import create_app
from privacy import jose
from privacy.canonical import canonical
from privacy.consent import PURPOSES, State
from privacy.consent_log import leaf
from privacy.errors import KeyringError
from privacy.gate import hashes_of, subject_of
from privacy.pseudonym import epoch_of

PUBLISHER = "proof"
SITE = "https://www.proof.example"
_SETTLED_S = 30.0
_FORGED = b"i" + b"A" * 100  # a token of nobody's
_SLOT = urlencode(
    {"publisher": PUBLISHER, "placement": "top", "url": f"{SITE}/sport/gravel-bikes", "title": "Bikes"}
)
_FORM = (("Content-Type", "application/x-www-form-urlencoded"),)

_ARTICLE = (
    "Gravel bikes take riders over forest roads and cobbled lanes alike. Wide tyres, a long wheelbase and an "
    "upright saddle make a long cycling tour through the autumn rain comfortable, and a jacket does the rest."
)
_ILLNESS = (
    "Chemotherapy and radiation are hard on patients with cancer. The oncologist explains the treatment of the "
    "tumour, its side effects, and what the hospital does for those who live with the disease."
)


_AUCTION = Request(
    "POST",
    AUCTION,
    json.dumps(
        {
            "id": "auction-1",
            "imp": [
                {
                    "id": "top",
                    "native": {
                        "request": json.dumps({"assets": [{"id": 1, "required": 1, "title": {"len": 90}}]})
                    },
                    "ext": {"prebid": {"bidder": {"tactful": {}}}},
                }
            ],
            "site": {
                "page": f"{SITE}/sport/gravel-bikes",
                "publisher": {"id": PUBLISHER},
                "ext": {"data": {"text": _ARTICLE}},
            },
            "device": {"sua": {"platform": {"brand": "Windows"}, "mobile": 0}, "geo": {"country": "DEU"}},
        }
    ).encode(),
    {"Content-Type": "text/plain", "Origin": SITE},
)


def prove_no_identity(planted: bool = True) -> Verdict:
    """Prove it of the service as it is built here; with `planted`, measure the proof by planted leaks too."""
    with tempfile.TemporaryDirectory(prefix="tactful-proof-") as name:
        folder = Path(name)
        make = real_service(folder / "models")
        verdict = prove(make, requests(), folder / "twins")
        if not planted:
            return verdict
        return replace(verdict, planted=score(make, planted_among(), folder / "planted"))


def planted_among() -> tuple[Request, ...]:
    """Give the few requests among which planted leaks are looked for: of each kind that a leak may stand in."""
    asked = requests()
    refused = next(one for one in asked if b"nobody" in one.body)
    return (*asked[:4], refused, next(one for one in asked if one.method == "OPTIONS"), _AUCTION)


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
            "POST",
            "/v1/decisions",
            _decision("/sport/gravel-bikes", text=_ARTICLE, explain=True),
            {**plain, "Sec-GPC": "1"},
            mute=True,
        ),
        Request("POST", "/v1/decisions", _decision("/health/care", text=_ILLNESS), plain, mute=True),
        Request("GET", f"/v1/slot?{_SLOT}"),
        Request("POST", "/v1/decisions", _decision("/news/rain", title="Rain"), {**plain, "Origin": SITE}),
        Request("POST", "/v1/decisions", b'{"publisher":"nobody"}', plain),
        Request("GET", f"/v1/slot?{_SLOT}&profile=strict", b"", {"Sec-GPC": "1"}),
        Request("OPTIONS", "/v1/slot", b"", {"Access-Control-Request-Method": "GET"}),
        Request("GET", f"/v1/why/{_FORGED.decode()}"),
        Request("POST", f"/v1/why/{_FORGED.decode()}", b"vote=too_personal", dict(_FORM)),
        Request("GET", "/v1/tag/1/contextual-ad.js"),
        Request("OPTIONS", "/v1/decisions", b"", {"Access-Control-Request-Method": "POST"}),
        Request("POST", "/v1/events", _FORGED, {"Content-Type": "text/plain"}),
        Request("OPTIONS", "/v1/events", b"", {"Access-Control-Request-Method": "POST"}),
        Request("GET", f"/v1/click/{_FORGED.decode()}"),
        _AUCTION,
        Request("OPTIONS", AUCTION, b"", {"Access-Control-Request-Method": "POST", "Origin": SITE}),
        Request(
            "GET",
            f"/v1/iab?token={PUBLISHER}&iabVersions=7&url=https%3A%2F%2Fwww.proof.example%2Fsport%2Fgravel-bikes",
        ),
        Request(
            "GET",
            f"/api/v1/decision/?publisher={PUBLISHER}&format=jsonp&callback=ad_7&keywords=bikes%7Crain&ad_types=image-v1"
            "&url=https%3A%2F%2Fwww.proof.example%2Fsport%2Fgravel-bikes",
        ),
        Request("GET", f"/proxy/view/autumn-0/{_FORGED.decode()[1:]}/"),
        Request("GET", f"/proxy/click/autumn-0/{_FORGED.decode()[1:]}/"),
        Request("GET", "/healthz"),
        Request("GET", "/nowhere"),
        *_still(),
    )


def _still() -> tuple[Request, ...]:
    """Give what else anybody may ask for, without a key."""
    token = _FORGED.decode()
    forms = ("/publisher", "/manage", "/reports")
    asked = json.dumps({"publisher": PUBLISHER, "token": "AA.AA." + 86 * "A"}).encode()
    rights = json.dumps({"publisher": PUBLISHER, "rights_token": "AA.AA." + 86 * "A"}).encode()
    json_ = {"Content-Type": "application/json"}
    return (
        *(
            Request("GET", path, still=True)
            for path in (
                *(
                    "/openapi.json",
                    "/readyz",
                    "/v1/events.js",
                    "/v1/conversions.js",
                    "/v1/tag/1/creative.css",
                ),
                *("/v1/tag/1/contextual-ad.css", "/v1/tag/1/slot.css", "/v1/why.css", "/images/" + 64 * "0"),
                *(
                    "/v1/repository",
                    "/repository",
                    "/reports/plan",
                    "/audit",
                    "/audit/audit.css",
                    "/audit/audit.js",
                ),
                *("/.well-known/gpc.json", "/v1/consents/status", "/dsrdelete.json", "/v1/subject/export"),
                *("/reports/reports.css", "/publisher/publisher.css", "/manage/manage.css", *forms),
                f"/v1/events/{token}.gif",
                f"/proxy/viewtime/autumn-0/{token[1:]}/?view_time=7",
            )
        ),
        *(Request("POST", path, b"key=tactful_nobody", dict(_FORM), still=True) for path in forms),
        Request("POST", f"/v1/events/{token}.gif", still=True),
        Request(
            "POST",
            "/api/v1/decision/",
            json.dumps(
                {"publisher": PUBLISHER, "placements": [{"div_id": "ad", "ad_type": "image-v1"}]}
            ).encode(),
            json_,
            still=True,
        ),
        Request("POST", "/v1/conversions", asked, {"Content-Type": "text/plain", "Origin": SITE}, still=True),
        Request("POST", "/v1/consents/withdraw", asked, {**json_, "Origin": SITE}, still=True),
        Request("POST", "/v1/subject/erase", rights, {**json_, "Origin": SITE}, still=True),
        Request("POST", "/v1/deletions", b"AA.AA." + 86 * b"A", {"Content-Type": "text/plain"}, still=True),
    )


def real_service(models: Path) -> MakeService:
    """Make services that share a folder of exported models, which holds nothing of their requests."""

    def make(clock: Clock, chance: Chance, folder: Path) -> Service:
        data = folder / "data"
        data.mkdir()
        models.mkdir(parents=True, exist_ok=True)
        (data / "models").symlink_to(models, target_is_directory=True)
        config = Config(
            data_dir=data, key_dir=folder / "keys", public_url="https://ads.example", weather="none"
        )
        fill(config, clock())
        services = Services(config, now=clock, monotonic=lambda: clock().timestamp(), random_bytes=chance)
        consent(services, clock())
        operator = create_key(services.store, "operator", None, "proof", clock(), chance)
        services.warm_up()
        services.tick()
        services.writer.start()
        queues = (services.background, services.pages.background)
        for queue in queues:
            queue.start()

        def settle() -> None:
            for queue in queues:
                if not queue.wait(_SETTLED_S):
                    raise TimeoutError(f"work off the path: not done within {_SETTLED_S:.0f} s")
            if not services.writer.wait(_SETTLED_S):
                raise TimeoutError(f"events: not kept within {_SETTLED_S:.0f} s")
            services.refresh()

        return Service(create_app(config, services).wsgi_app, settle, services.close, operator)

    return make


def consent(services: Services, now: datetime) -> None:
    """Let one reader agree and another withdraw, one token be used, and the cohort be shared by many."""
    keys, weeks = services.consent_keys, services.weeks
    if keys is None or weeks is None or services.consents is None:
        raise KeyringError("the twins have no keys of consent")
    consents = services.consents.store
    mac = partial(keys.mac, "subject")
    expires = now + timedelta(days=30)
    for sub, state in ((AGREED, "ConsentGiven"), (WITHDREW, "ConsentWithdrawn")):
        row = ConsentRow(
            publisher=PUBLISHER,
            subject=subject_of(mac, PUBLISHER, sub),
            record=RECORD,
            generation=GENERATION,
            state=cast(State, state),
            purposes=PURPOSES,
            expires=expires,
        )
        consents.change(
            PUBLISHER,
            row.subject,
            lambda _, row=row: row,  # type: ignore[misc]  # mypy infers no default
            lambda _, index: (leaf(index, "consent.grant", now), b"sealed"),
            expires,
        )
    consents.use(PUBLISHER, *hashes_of(mac, USED_ID, USED_NONCE), expires, 1)
    epoch = epoch_of(now - LATE) - 1
    weeks.budget.spend(
        release_query(PUBLISHER, epoch), [], lambda: canonical({"counts": [["cohort", COHORT, 2 * K]]})
    )
    weeks.shared.tend({PUBLISHER: ()}, now)


_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
_PICTURE = HostedImage(hashlib.sha256(_PIXEL).hexdigest(), "image/png", 1, 1, _PIXEL)
_PARTS = Parts(  # so that messages are drawn, by chance and by what is known of the page view
    headlines=(
        TextPart("plain", "For every road"),
        TextPart("weather", "For {{ weather | all }} days"),
        TextPart("phones", "In your hand", Only(devices=("phone",))),
    ),
    ctas=(TextPart("look", "Look"), TextPart("try", "Try it")),
)


def fill(config: Config, now: datetime) -> None:
    """Make a small catalogue: a campaign for everybody, and one for readers who let it be said what they did."""
    store = open_store(config.store_url)
    suits_all = Suitability(avoid=(), accept_unknown=True)
    lines = ("Tyres for every road", "A jacket that keeps you dry", "Tours with company")
    entities: list[Entity] = [
        Publisher(
            id=PUBLISHER,
            name="The Proof",
            domains=("www.proof.example",),
            first_party=FirstParty(cohorts=(COHORT,)),
            issuers={ISSUER.name: Jwks((Jwk(jose.jwk(ISSUER.key)["x"]),))},
        ),
        Advertiser(id="wheels", name="Wheels", domains=("wheels.example",)),
        Campaign(
            id="autumn",
            advertiser="wheels",
            name="Autumn",
            cpm_micros=1_000_000,
            suitability=suits_all,
            flight=Flight(budget_micros=1_000_000_000),
        ),
        Campaign(
            id="again",
            advertiser="wheels",
            name="Again",
            cpm_micros=9_000_000,
            suitability=suits_all,
            targeting=Targeting(cohorts=Rule(include=(COHORT,))),
        ),
        Creative(
            id="again-0",
            campaign="again",
            format="native",
            headline="The bicycle that you looked at",
            landing_url="https://wheels.example/",
        ),
        *(
            Creative(
                id=f"autumn-{number}",
                campaign="autumn",
                format="native",
                headline=line,
                landing_url="https://wheels.example/",
                image=Image(alt="A bicycle", hash=_PICTURE.hash, ext="png", w=_PICTURE.w, h=_PICTURE.h),
                parts=_PARTS,
            )
            for number, line in enumerate(lines)
        ),
    ]
    store.write([Change(None, entity) for entity in entities], [_PICTURE], store.versions(), "proof", now)
    store.close()


def _decision(path: str, **page: object) -> bytes:
    explain = bool(page.pop("explain", False))
    placements = [{"id": "top"}, {"id": "side", "count": 2}]
    body = {"publisher": PUBLISHER, "placements": placements, "page": {"url": f"{SITE}{path}", **page}}
    return json.dumps({**body, "explain": explain}).encode()
