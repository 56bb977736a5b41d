"""Bid requests over HTTP: what unmodified clients send, what is bid, what is read, and what is billed."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from engine.campaign import Advertiser, Flight, StoredPlacement
from engine.config import Config
from engine.creative import Image
from engine.images import HostedImage
from engine.keys import create_key
from engine.prove.iab_write import random_consent, tc_string
from engine.web import create_app
from tests import world
from tests.engine.web.conftest import zipped
from tests.engine.web.test_events import BASE, BROWSER, Shop
from tests.world import NOW, campaign, creative

AUCTION = "/openrtb2/auction"
ORIGIN = "https://planet.example"
PICTURE = Image(alt="A tyre", hash="a" * 64, ext="webp", w=600, h=314)
ARTICLE = "Gravel bikes and wide tyres for a long cycling tour through the rain."
NATIVE = {
    "ver": "1.2",
    "eventtrackers": [{"event": 1, "methods": [1, 2]}, {"event": 2, "methods": [1]}],
    "assets": [
        {"id": 1, "required": 1, "title": {"len": 80}},
        {"id": 2, "required": 1, "img": {"type": 3, "wmin": 300, "hmin": 157}},
        {"id": 3, "required": 0, "img": {"type": 1, "w": 64, "h": 64}},
        {"id": 4, "required": 1, "data": {"type": 1}},
        {"id": 5, "required": 0, "data": {"type": 2, "len": 120}},
    ],
}


class Exchange(Shop):
    """A service that bids in euros, and knows what a euro is in dollars."""

    def __init__(self, folder: Path, *, strict: bool = False, **settings: Any) -> None:
        self.stock(folder, strict)
        store, hosted = self.world.store, HostedImage("a" * 64, "image/webp", 600, 314, b"RIFF")
        store.write([], [hosted], store.versions(), "test", NOW)
        self.world.put(
            Advertiser("acme", "Acme & Sons", ("acme.example",)),
            campaign("spring", cpm_micros=2_000_000, categories=("1004",)),
            creative("spring-1", "spring", image=PICTURE, body="Wide and quiet.", cta="See them"),
            creative(
                "spring-2", "spring", format="banner", size=(300, 250), html="<p>Tyres</p>", headline="tyres"
            ),
            campaign("click", cpm_micros=0, cpc_micros=9_000_000),
            creative("click-1", "click", image=PICTURE),
        )
        self.world.catalog.refresh()
        self.tick()
        self.again(**{"public_url": BASE, "exchange_rates": "USD=1.25", **settings})

    def again(self, **settings: Any) -> None:
        self.services.registered = dict(self.world.view.snapshot.publishers)
        self.client = Client(create_app(Config(**settings), self.services))

    def register(self, **publisher: Any) -> None:
        self.put(world.publisher(**publisher))
        self.services.registered |= self.world.view.snapshot.publishers

    def call(self, body: Any, query: str = "", **headers: str) -> TestResponse:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {**BROWSER, "Content-Type": "text/plain", "Origin": ORIGIN}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value}
        return self.client.post(AUCTION + query, data=data, headers=sent)

    def told(self, body: Any, query: str = "", **headers: str) -> Any:
        answer = self.call(body, query, **headers)
        assert answer.status_code == 200, answer.text
        told = json.loads(answer.data)
        assert told["id"] == (body["id"] if isinstance(body, dict) else told["id"])
        return told

    def bids(self, body: Any, query: str = "", **headers: str) -> list[Any]:
        told = self.told(body, query, **headers)
        return [bid for seat in told.get("seatbid", ()) for bid in seat["bid"]]

    def load(self, bid: Any, field: str = "burl", **headers: str) -> None:
        assert self.get(bid[field], {**BROWSER, **headers}).status_code == 200


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    exchange = Exchange(tmp_path)
    yield exchange
    exchange.writer.stop()


def banner(id: str = "top", *sizes: tuple[int, int], **more: Any) -> dict[str, Any]:
    formats = [{"w": w, "h": h} for w, h in sizes or ((300, 250), (320, 100))]
    ext = {"prebid": {"bidder": {"ctx": {}}}}
    return {"id": id, "banner": {"format": formats}, "secure": 1, "ext": ext} | more


def native(id: str = "feed", request: Any = None, **more: Any) -> dict[str, Any]:
    ext = {"prebid": {"bidder": {"ctx": {}}}}
    return {"id": id, "native": {"request": json.dumps(request or NATIVE), "ver": "1.2"}, "ext": ext} | more


def bid_request(*imps: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": "r-1",
        "imp": list(imps) or [banner()],
        "site": {
            "page": "https://planet.example/sport/tour?uid=7",
            "publisher": {"id": "planet"},
            "content": {"language": "en", "title": "A long tour"},
            "ext": {"data": {"text": ARTICLE}},
        },
        "tmax": 800,
    } | more


def test_a_banner_is_bid_on_with_all_that_clients_ask_for(exchange: Exchange) -> None:
    told = exchange.told(bid_request())
    (seat,) = told["seatbid"]
    (bid,) = seat["bid"]
    assert (told["id"], told["cur"], seat["seat"]) == ("r-1", "EUR", "ctx")
    assert (bid["impid"], bid["mtype"], bid["w"], bid["h"]) == ("top", 1, 300, 250)
    assert (bid["crid"], bid["cid"], bid["price"]) == ("spring-2", "spring", 2.0)
    assert (bid["adomain"], bid["cat"], bid["cattax"]) == (["acme.example"], ["210"], 9)
    assert bid["ext"]["prebid"]["type"] == "banner"
    assert f'<img src="{bid["burl"]}"' in bid["adm"]
    assert "<p>Tyres</p>" in bid["adm"] and f'href="{BASE}/v1/why/' in bid["adm"]
    assert "nurl" not in bid and "dsa" not in bid["ext"]


def test_a_native_bid_has_what_was_asked_for_and_nothing_else(exchange: Exchange) -> None:
    (bid,) = exchange.bids(bid_request(native()))
    adm = json.loads(bid["adm"])
    assert bid["mtype"] == 4 and bid["ext"]["prebid"]["type"] == "native" and "w" not in bid
    assert adm["ver"] == "1.2" and adm["privacy"].startswith(f"{BASE}/v1/why/")
    assert adm["assets"] == [
        {"id": 1, "title": {"text": "headline of spring-1"}},
        {"id": 2, "img": {"url": adm["assets"][1]["img"]["url"], "w": 600, "h": 314, "type": 3}},
        {"id": 4, "data": {"value": "Acme & Sons", "type": 1}},
        {"id": 5, "data": {"value": "Wide and quiet.", "type": 2}},
    ]
    assert adm["link"]["url"].startswith(f"{BASE}/v1/click/c")
    assert [(one["event"], one["method"]) for one in adm["eventtrackers"]] == [(1, 1), (2, 1)]
    assert adm["eventtrackers"][0]["url"] == bid["burl"]


def test_who_asks_wrapped_is_answered_wrapped(exchange: Exchange) -> None:
    (bid,) = exchange.bids(bid_request(native(request={"native": NATIVE})))
    assert list(json.loads(bid["adm"])) == ["native"]


@pytest.mark.parametrize(
    "asset",
    [
        {"id": 1, "required": 1, "title": {"len": 5}},
        {"id": 1, "required": 1, "data": {"type": 2, "len": 4}},
        {"id": 1, "required": 1, "data": {"type": 3}},
        {"id": 1, "required": 1, "video": {"mimes": ["video/mp4"]}},
        {"id": 1, "required": 1, "img": {"type": 1, "w": 64, "h": 64}},
        {"id": 1, "required": 1, "img": {"type": 3, "wmin": 601, "hmin": 10}},
        {"id": 1, "required": 1, "img": {"type": 3, "w": 300, "h": 157}},
        {"id": 1, "required": 1, "img": {"type": 3, "wmin": 300, "mimes": ["image/png"]}},
        {"required": 1, "title": {"len": 80}},
    ],
)
def test_where_a_required_asset_is_missing_there_is_no_bid(exchange: Exchange, asset: Any) -> None:
    assert exchange.bids(bid_request(native(request={"assets": [asset]}))) == []
    (bid,) = exchange.bids(
        bid_request(native(request={"assets": [NATIVE["assets"][0], asset | {"required": 0}]}))
    )
    assert [one["id"] for one in json.loads(bid["adm"])["assets"]] == [1]


def test_among_creatives_the_one_is_taken_that_has_what_is_required(exchange: Exchange) -> None:
    exchange.put(
        campaign("bare", cpm_micros=9_000_000),
        creative("bare-1", "bare", headline="gravel bikes cycling tour rain"),
    )
    (bid,) = exchange.bids(bid_request(native()))
    assert bid["crid"] == "spring-1"
    (bid,) = exchange.bids(bid_request(native(request={"assets": NATIVE["assets"][:1]})))
    assert bid["crid"] == "bare-1"


def test_an_impression_of_two_kinds_gets_one_bid(exchange: Exchange) -> None:
    (bid,) = exchange.bids(bid_request(banner() | {"native": native()["native"]}))
    assert bid["mtype"] in (1, 4)


@pytest.mark.parametrize("size", [{"w": 1e308, "h": 250}, {"w": 300, "h": 40_000}])
def test_a_size_that_no_creative_has_is_none(exchange: Exchange, size: Any) -> None:
    assert exchange.told(bid_request(banner() | {"banner": {"format": [size]}}))["nbr"] == 500
    assert (
        len(exchange.bids(bid_request(banner() | {"banner": {"format": [size, {"w": 300, "h": 250}]}}))) == 1
    )


def test_each_impression_keeps_its_id_and_no_creative_comes_twice(exchange: Exchange) -> None:
    bids = exchange.bids(bid_request(native("a/1 ü"), banner("b"), native("c")))
    assert {(bid["impid"], bid["crid"]) for bid in bids} == {("a/1 ü", "spring-1"), ("b", "spring-2")}
    assert len({bid["id"] for bid in bids}) == 2


@pytest.mark.parametrize(
    "imp",
    [
        {"id": "v", "video": {"mimes": ["video/mp4"]}},
        banner("x", (728, 90)),
        {"id": "n", "banner": {}},
        banner("f") | {"banner": {"format": [{"wratio": 1, "hratio": 2, "wmin": 100}]}},
        banner("b") | {"banner": {"format": [{"w": 300, "h": 250}], "btype": [2]}},
        banner(pmp={"private_auction": 1}),
        banner(bidfloor=2.01, bidfloorcur="EUR"),
        banner(bidfloor=2.51, bidfloorcur="USD"),
        banner(bidfloor=0.01, bidfloorcur="XYZ"),
        native(request={"assets": []}),
        {"id": "n", "native": {"request": "{not json"}},
        {"id": "n", "native": {"request": "[" * 5000}},
    ],
)
def test_what_cannot_be_answered_gets_no_bid_and_a_reason(exchange: Exchange, imp: Any) -> None:
    told = exchange.told(bid_request(imp))
    assert set(told) == {"id", "nbr"} and told["nbr"] in (500, 501)


def test_seats_that_may_not_bid_do_not(exchange: Exchange) -> None:
    for allowed in ({}, {"wseat": ["ctx", "other"]}, {"bseat": ["other"]}):
        assert len(exchange.bids(bid_request(**allowed))) == 1
    for kept_out in ({"wseat": ["other"]}, {"bseat": ["ctx"]}, {"wseat": ["ctx"], "bseat": ["ctx"]}):
        assert exchange.told(bid_request(**kept_out)) == {"id": "r-1", "nbr": 500}
    assert len(exchange.bids(bid_request(banner(), native(), wseat=["ctx"]))) == 2


@pytest.mark.parametrize(
    ("url", "bids"),
    [
        ("http://ads.example", 0),
        ("https://ads.example", 1),
        ("http://127.0.0.1:8137", 1),
        ("http://localhost", 1),
    ],
)
def test_markup_that_a_secure_page_would_block_is_not_sent(exchange: Exchange, url: str, bids: int) -> None:
    exchange.again(public_url=url, exchange_rates="USD=1.25")
    assert len(exchange.bids(bid_request(banner(secure=1)))) == bids
    assert len(exchange.bids(bid_request(banner(secure=0)))) == 1
    plain = {"page": "http://planet.example/sport", "publisher": {"id": "planet"}}
    assert len(exchange.bids(bid_request(banner(secure=1), site=plain))) == 1
    assert len(exchange.bids(bid_request(banner(secure=1)))) == bids


def test_a_deal_beside_an_open_auction_changes_nothing(exchange: Exchange) -> None:
    deals = [{"id": "d-1", "bidfloor": 9.0, "wseat": ["other"]}]
    (bid,) = exchange.bids(bid_request(banner(pmp={"private_auction": 0, "deals": deals})))
    assert "dealid" not in bid
    assert exchange.bids(bid_request(banner(pmp={"private_auction": 1, "deals": deals}))) == []


def test_floors_are_held_in_their_currency(exchange: Exchange) -> None:
    (bid,) = exchange.bids(bid_request(banner(bidfloor=2.5, bidfloorcur="USD")))
    assert bid["price"] == 2.0  # euros
    (bid,) = exchange.bids(bid_request(banner(bidfloor=2.5)))  # dollars, where none is named
    assert bid["price"] == 2.0
    told = exchange.told(bid_request(banner(bidfloor=2, bidfloorcur="EUR"), cur=["GBP", "USD"]))
    assert (told["cur"], told["seatbid"][0]["bid"][0]["price"]) == ("USD", 2.5)
    assert exchange.told(bid_request(cur=["GBP"])) == {"id": "r-1", "nbr": 502}
    assert exchange.told(bid_request(cur=["USD", "EUR"]))["cur"] == "EUR"


def test_the_price_that_is_told_is_the_price_that_is_billed(exchange: Exchange) -> None:
    exchange.put(campaign("spring", cpm_micros=1_999_999))
    (bid,) = exchange.bids(bid_request())
    assert bid["price"] == 1.999
    exchange.load(bid)
    exchange.load(bid)
    assert exchange.rows() == [("impression", 0, 1999)]
    assert exchange.bids(bid_request(banner(bidfloor=1.9995, bidfloorcur="EUR"))) == []


def test_nothing_is_billed_until_the_bid_is_shown(exchange: Exchange) -> None:
    exchange.put(campaign("spring", cpm_micros=2_000_000, flight=Flight(budget_micros=10_000_000)))
    (bid,) = exchange.bids(bid_request())
    assert exchange.rows() == []
    exchange.load(bid, User_Agent="curl/8")
    assert exchange.rows() == [("impression", 1, 0)]


def test_only_who_pays_for_impressions_bids(exchange: Exchange) -> None:
    exchange.put(
        world.campaign("house", house=True, cpm_micros=0), creative("house-1", "house", image=PICTURE)
    )
    assert [bid["crid"] for bid in exchange.bids(bid_request(native("a"), native("b")))] == ["spring-1"]


def test_what_is_blocked_does_not_bid(exchange: Exchange) -> None:
    for block in (
        {"badv": ["ACME.example"]},
        {"badv": ["shop.acme.example"]},
        {"bcat": ["IAB8-5"]},
        {"bcat": ["IAB8"]},
        {"bcat": ["1002"], "cattax": 8},
        {"bcat": ["210"], "cattax": 7},
        {"bcat": ["211"], "cattax": 9},
        {"bcat": ["1"], "cattax": 3},
    ):
        assert exchange.bids(bid_request(**block)) == [], block
    for block in (
        {"badv": ["notacme.example", "example"]},
        {"bcat": ["IAB26", "nonsense"]},
        {"bcat": ["1003"], "cattax": 8},
    ):
        assert len(exchange.bids(bid_request(**block))) == 1, block


def test_categories_are_told_in_the_taxonomy_that_was_asked_in(exchange: Exchange) -> None:
    for cattax, told in ((7, (["210"], 7)), (8, (["1004"], 8)), (1, (["210"], 9))):
        (bid,) = exchange.bids(bid_request(cattax=cattax))
        assert (bid["cat"], bid["cattax"]) == told


def test_the_seat_is_the_bidder_that_was_asked(exchange: Exchange) -> None:
    def seat(bidders: Any) -> str:
        told = exchange.told(bid_request(banner(ext={"prebid": {"bidder": bidders}})))
        return str(told["seatbid"][0]["seat"])

    assert seat({"mine": {"placement": 7}}) == "mine"
    assert seat({"other": {}, "tactful": {}}) == "tactful"
    assert seat({}) == "tactful"
    assert seat({"mine": "not an object"}) == "mine"


def test_a_registered_placement_fills_and_narrows_what_is_asked(exchange: Exchange) -> None:
    stored = {"prebid": {"storedrequest": {"id": "sport-top"}}}
    assert (
        len(exchange.bids(bid_request(banner(ext=stored)))) == 1
    )  # nothing is registered: what is asked counts
    exchange.register(
        placements=(
            StoredPlacement("sport-top", ("banner",), ((300, 250),), 1_000_000),
            StoredPlacement("dear", floor_micros=3_000_000),
            StoredPlacement("wide", sizes=((728, 90),)),
        )
    )
    (bid,) = exchange.bids(bid_request({"id": "x", "ext": stored}))
    assert (bid["w"], bid["h"], bid["impid"]) == (300, 250, "x")
    assert exchange.bids(bid_request(native(ext=stored))) == []
    for id in ("dear", "wide", "unknown"):
        assert exchange.bids(bid_request(banner(ext={"prebid": {"storedrequest": {"id": id}}}))) == []
    for id, number in (("dear", 0), ("unknown", 1)):
        assert (
            len(exchange.bids(bid_request(banner(ext={"prebid": {"bidder": {"ctx": {"placement": id}}}}))))
            == number
        )


def test_a_test_is_answered_and_counts_nowhere(exchange: Exchange) -> None:
    (bid,) = exchange.bids(bid_request(test=1))
    assert "burl" not in bid and "/v1/events/" not in bid["adm"]
    assert exchange.world.store.rows("SELECT count(*) FROM decided") == [(0,)]


@pytest.mark.parametrize(
    ("asked", "adrender"),
    [
        ({"dsarequired": 2, "pubrender": 0}, 1),
        ({"dsarequired": 3, "pubrender": 2}, 0),
        ({"dsarequired": 0}, 1),
    ],
)
@pytest.mark.parametrize("where", ["regs.dsa", "regs.ext.dsa"])
def test_dsa_is_told_by_the_rules(exchange: Exchange, asked: Any, adrender: int, where: str) -> None:
    regs = {"dsa": asked} if where == "regs.dsa" else {"ext": {"dsa": asked}}
    (bid,) = exchange.bids(bid_request(regs=regs))
    assert bid["ext"]["dsa"] == {
        "behalf": "Acme & Sons",
        "paid": "Acme & Sons",
        "transparency": [{"domain": "ads.example", "dsaparams": [2]}],
        "adrender": adrender,
    }


# --- who may call, and how ---


def test_answers_may_be_read_by_the_publishers_pages_alone(exchange: Exchange) -> None:
    answer = exchange.call(bid_request())
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Vary"] == "Origin"
    for origin in ("https://globe.example", "https://stranger.example", "null"):
        answer = exchange.call(bid_request(), Origin=origin)
        assert json.loads(answer.data) == {"id": "r-1", "nbr": 7}
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert len(exchange.bids(bid_request(), Origin="")) == 1


def test_a_browser_that_asks_first_may_send_json(exchange: Exchange) -> None:
    asks = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = exchange.client.options(AUCTION, headers=asks)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Access-Control-Allow-Headers"] == "Content-Type"
    answer = exchange.client.options(AUCTION, headers=asks | {"Origin": "https://stranger.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_publisher_may_stand_in_the_address(exchange: Exchange) -> None:
    body = bid_request()
    del body["site"]["publisher"]
    assert exchange.told(body)["nbr"] == 7
    assert len(exchange.bids(body, "?sid=planet&token=x", Content_Type="application/json;charset=utf-8")) == 1


def test_an_unknown_publisher_gets_an_empty_answer(exchange: Exchange) -> None:
    body = bid_request()
    body["site"]["publisher"]["id"] = "nobody"
    assert exchange.told(body) == {"id": "r-1", "nbr": 7}
    assert exchange.told({"id": "r-1", "imp": [banner()]}) == {"id": "r-1", "nbr": 7}


def test_a_key_speaks_for_its_own_publisher(exchange: Exchange) -> None:
    def key(tenant: str) -> str:
        return create_key(
            exchange.world.store, "publisher", tenant, "t", NOW, lambda size: tenant.encode()[:1] * size
        )

    mine, other = key("planet"), key("globe")
    asked = {"User_Agent": "python-requests/2", "Origin": ""}
    (bid,) = exchange.bids(bid_request(), Authorization=f"Bearer {mine}", **asked)
    exchange.load(bid)
    assert exchange.rows() == [("impression", 0, 2000)]
    assert exchange.call(bid_request(), Authorization=f"Bearer {other}", **asked).status_code == 403


def test_a_body_may_be_zipped_and_only_the_address_says_so(exchange: Exchange) -> None:
    data = json.dumps(bid_request()).encode()
    assert len(exchange.bids(zipped(data), "?gzip=1")) == 1
    assert len(exchange.bids(zipped(data), "?gzip=1", Content_Encoding="gzip")) == 1
    assert exchange.call(data, "?gzip=1").status_code == 400
    assert exchange.call(zipped(data)).status_code == 400
    assert exchange.call(zipped(data)[:-9], "?gzip=1").status_code == 400


def test_bombs_and_floods_are_refused_before_they_are_read(exchange: Exchange) -> None:
    assert exchange.call(gzip.compress(b" " * 40_000_000), "?gzip=1").status_code == 413
    assert exchange.call(b"[" * 600_000).status_code == 413
    assert exchange.call(b'{"id":' * 50_000).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"id":"a"}',
        b'{"id":"a","imp":[]}',
        b'{"id":"a","imp":[{}]}',
        b'{"id":1,"imp":[{"id":"1"}]}',
        b'{"id":"a","imp":[{"id":"1"},{"id":"1"}]}',
        b'{"id":"a","imp":[{"id":"1","bidfloor":-1}]}',
        b'{"id":"a","imp":[{"id":"1","bidfloor":NaN}]}',
        b'{"id":"a","imp":{"id":"1"}}',
    ],
)
def test_what_is_malformed_is_refused_without_content(exchange: Exchange, body: bytes) -> None:
    answer = exchange.call(body)
    assert (answer.status_code, answer.data) == (400, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_json_is_read_whatever_it_is_called(exchange: Exchange) -> None:
    for media in (
        "application/json",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "a/b",
        "",
    ):
        assert len(exchange.bids(bid_request(), Content_Type=media)) == 1


def test_what_is_ill_said_of_a_page_is_left_out(exchange: Exchange) -> None:
    body = bid_request(device={"geo": {"country": "DEU", "region": "nowhere!"}, "devicetype": 4})
    body["site"] |= {"page": "https://[broken", "keywords": "a,,b", "kwarray": ["c"], "cat": ["IAB1"]}
    body["site"]["content"]["language"] = "no language"
    assert len(exchange.bids(body)) == 1
    body["device"]["geo"]["region"] = "ZZ"
    assert len(exchange.bids(body)) == 1


def test_a_request_beyond_the_publishers_rate_is_put_off(exchange: Exchange) -> None:
    exchange.register(rate_per_s=1)
    for _ in range(40):
        answer = exchange.call(bid_request())
        if answer.status_code == 429:
            break
    assert answer.status_code == 429 and answer.headers["Retry-After"]


def test_a_failing_engine_costs_a_bid_and_no_page(exchange: Exchange, monkeypatch: Any) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("jane.doe@mail.example")

    monkeypatch.setattr(exchange.services.engine, "offer", fails)
    assert exchange.told(bid_request()) == {"id": "r-1", "nbr": 1}


def test_without_tokens_nothing_could_be_counted_so_nothing_is_bid(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, strict=True, event_profile="strict")
    assert exchange.told(bid_request()) == {"id": "r-1", "nbr": 504}
    assert len(exchange.bids(bid_request(test=1))) == 1
    exchange.writer.stop()


# --- consent and what is read ---


def consent_string(*purposes: int) -> str:
    import random
    from dataclasses import replace

    from engine.prove.iab_write import ids

    said = replace(
        random_consent(random.Random(5), NOW),
        policy=5,
        purpose_consents=ids(*purposes),
        purpose_legitimate_interests=ids(),
        vendor_consents=ids(7),
        disclosed=ids(7),
        restrictions=(),
        publisher=None,
    )
    return tc_string(said)


def places(gdpr: int | None, tcf: str | None) -> Iterator[dict[str, Any]]:
    """Give both places where consent may stand."""
    yield {"regs": {"gdpr": gdpr}, "user": {"consent": tcf}}
    yield {"regs": {"ext": {"gdpr": gdpr}}, "user": {"ext": {"consent": tcf}}}


@pytest.mark.parametrize(
    ("settings", "silent"),
    [
        ({}, False),
        ({"purpose_2_refused": "silence"}, True),
        ({"tcf_role": "vendor:7"}, True),
        ({"tcf_role": "vendor:7", "purpose_2_refused": "context"}, False),
    ],
)
def test_who_refuses_gets_what_the_setting_says(exchange: Exchange, settings: Any, silent: bool) -> None:
    exchange.again(public_url=BASE, **settings)
    for tcf in (consent_string(1, 3), None, "${GDPR_CONSENT_7}", ""):
        for place in places(1, tcf):
            told = exchange.told(bid_request(**place))
            assert told.get("nbr") == (503 if silent else None), (tcf, place)
    for place in (*places(1, consent_string(2)), *places(0, consent_string(1)), *places(None, None)):
        assert len(exchange.bids(bid_request(**place))) == 1


def test_gpc_is_heard_in_every_place(exchange: Exchange) -> None:
    def heard(headers: dict[str, str], **more: Any) -> bool:
        visits: list[Any] = []
        offer = exchange.services.engine.offer

        def listening(visit: Any, *args: Any, **named: Any) -> Any:
            visits.append(visit)
            return offer(visit, *args, **named)

        exchange.services.engine.offer = listening  # type: ignore[method-assign]
        exchange.told(bid_request(**more), **headers)
        exchange.services.engine.offer = offer  # type: ignore[method-assign]
        return bool(visits[0].gpc)

    assert not heard({}, regs={"ext": {"gpc": "0"}, "gpc": 0})
    assert heard({"Sec_GPC": "1"})
    for regs in ({"ext": {"gpc": "1"}}, {"ext": {"gpc": 1}}, {"gpc": "1"}, {"gpc": True}):
        assert heard({}, regs=regs)


# What stands in requests of readers and is never read, by path.
UNREAD: dict[str, Any] = {
    "device.ua": "Mozilla/5.0 (reader 7)",
    "device.ip": "203.0.113.7",
    "device.ipv6": "2001:db8::7",
    "device.ifa": "6f7f0f0d-2b11-4b1c-9a35-3c3bd5f61d1d",
    "device.dpidsha1": "7" * 40,
    "device.language": "fr",
    "device.w": 411,
    "device.h": 823,
    "device.make": "Maker",
    "device.model": "Pixel 9",
    "device.osv": "15.0.7",
    "device.carrier": "Carrier",
    "device.ext": {"vpw": 411, "ifa_type": "aaid"},
    "device.sua.browsers": [{"brand": "Chromium", "version": ["141", "0", "7390", "54"]}],
    "device.sua.platform.version": ["15", "0"],
    "device.sua.model": "Pixel 9",
    "device.geo.lat": 52.520008,
    "device.geo.lon": 13.404954,
    "device.geo.zip": "10115",
    "device.geo.city": "Berlin",
    "device.geo.utcoffset": 60,
    "device.geo.accuracy": 5,
    "user.id": "reader-7",
    "user.buyeruid": "b-7",
    "user.yob": 1984,
    "user.gender": "F",
    "user.keywords": "pregnant,runner",
    "user.data": [{"id": "dmp", "segment": [{"id": "7"}], "ext": {"segtax": 4}}],
    "user.geo": {"lat": 52.5, "lon": 13.4, "country": "FRA"},
    "user.eids": [{"source": "id.example", "uids": [{"id": "u7"}]}],
    "user.ext": {"eids": [{"source": "id.example", "uids": [{"id": "u7"}]}], "data": {"age": 42}},
    "source.tid": "7d1f8a3c-55aa-4c4e-9d55-3c1d2f0a9b11",
    "source.ext": {"schain": {"nodes": [{"sid": "7"}]}},
    "imp.0.ext.tid": "7d1f8a3c-55aa-4c4e-9d55-3c1d2f0a9b12",
    "imp.0.ext.gpid": "/sport/reader-7",
    "imp.0.ext.prebid.bidder.ctx.uid": "reader-7",
    "site.ref": "https://clinic.example/hiv?uid=7",
    "site.search": "cancer help",
    "site.ext.data.uid": "reader-7",
    "ext.prebid.page_view_ids": {"ctx": "a6487c1f-d918-40a7-b3b4-1dc541ec7c4a"},
    "ext.prebid.auctiontimestamp": 1795436885248,
    "ext.prebid.data.eidpermissions": [{"source": "id.example"}],
    "regs.us_privacy": "1YYN",
    "regs.ext.us_privacy": "1YYN",
    "unknown.field": "reader-7",
}


def with_path(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed: Any = copy.deepcopy(body)
    at, names = changed, path.split(".")
    for name in names[:-1]:
        at = at[int(name)] if isinstance(at, list) else at.setdefault(name, {})
    at[names[-1]] = value
    return dict(changed)


def test_what_is_not_on_the_list_changes_nothing(tmp_path: Path, capfd: Any, caplog: Any) -> None:
    """Two services are asked alike but for one field at a time; what they answered, kept and logged is compared."""
    caplog.set_level("DEBUG")
    body = bid_request(banner(), native(), device={"sua": {"mobile": 1, "platform": {"brand": "Android"}}})

    def left(folder: Path, bodies: list[Any]) -> tuple[list[bytes], list[Any], str]:
        caplog.clear()
        exchange = Exchange(folder)
        answers = []
        for one in bodies:
            answer = exchange.call(one)
            answers.append(answer.data + repr(sorted(answer.headers)).encode())
            for bid in json.loads(answer.data)["seatbid"][0]["bid"]:
                exchange.load(bid)
        exchange.rows()
        kept = [
            exchange.world.store.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3")
            for table in ("events", "decided", "ledger", "pages", "page_urls")
        ]
        exchange.writer.stop()
        return answers, kept, "\n".join(record.getMessage() for record in caplog.records)

    said = [with_path(body, path, value) for path, value in UNREAD.items()]
    plain, told = left(tmp_path / "a", [body] * len(said)), left(tmp_path / "b", said)
    for number, path in enumerate(UNREAD):
        assert plain[0][number] == told[0][number], path
    assert plain[1:] == told[1:]
    out = capfd.readouterr()
    assert not any(text in out.out + out.err for text in ("203.0.113.7", "reader-7", "jane"))


def test_what_is_on_the_list_is_read(exchange: Exchange) -> None:
    """The test above could pass where nothing at all is read."""
    seen: list[Any] = []
    offer = exchange.services.engine.offer

    def listening(visit: Any, *args: Any, **named: Any) -> Any:
        seen.append(visit)
        return offer(visit, *args, **named)

    exchange.services.engine.offer = listening  # type: ignore[method-assign]
    body = bid_request(
        device={
            "sua": {"mobile": 1, "platform": {"brand": "Android"}},
            "geo": {"country": "AUT", "region": "9"},
        }
    )
    body["site"] |= {
        "keywords": "Bikes, rain",
        "pagecat": ["483"],
        "cattax": 7,
        "ext": {"data": {"text": ARTICLE, "description": "All about tyres", "documentLang": "de"}},
        "content": {"data": [{"segment": [{"id": "492"}], "ext": {"segtax": 9}}], "cat": ["IAB17-3"]},
    }
    exchange.told(body)
    (visit,) = seen
    assert (visit.device.cls, visit.device.platform) == ("phone", "android")
    assert (visit.place.country, visit.place.region) == ("AT", "9")
    page = visit.page
    assert page.url == "https://planet.example/sport/tour"
    assert (page.text, page.description, page.language) == (ARTICLE, "All about tyres", "de")
    assert (page.keywords, page.categories, page.cattax) == (("Bikes", "rain"), ("492", "483"), 9)


@pytest.mark.parametrize("setting", ["context", "silence"])
def test_the_setting_holds_for_pages_that_ask_by_themselves(exchange: Exchange, setting: str) -> None:
    exchange.again(public_url=BASE, purpose_2_refused=setting)

    def filled(*purposes: int) -> bool:
        consent = {"tcf": consent_string(*purposes)}
        told = [
            exchange.ask(consent=consent, regs={"gdpr": 1}) for _ in range(2)
        ]  # the second is known again
        assert told[0]["unfilled"] == told[1]["unfilled"] and not told[0]["degraded"]
        return bool(told[0]["decisions"])

    assert filled(1, 2)
    assert filled(1) == (setting == "context")
