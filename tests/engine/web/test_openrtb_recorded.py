"""Requests that unmodified Prebid.js sent, sent again: each is bid on as Prebid accepts it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.engine.web.conftest import zipped
from tests.engine.web.test_openrtb import Exchange

DATA = Path(os.environ.get("TACTFUL_DATA", Path(__file__).parents[4] / "shared" / "data")) / "prebid"
ORIGIN = "http://127.0.0.1:8099"  # of the recorded pages
BIDDERS = ("ctx", "rixengine")

if not DATA.is_dir():
    pytest.skip(f"no recordings at {DATA}: set TACTFUL_DATA", allow_module_level=True)

RECORDED = {path.name.removesuffix(".request.json"): path for path in sorted(DATA.glob("*.request.json"))}


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    exchange = Exchange(tmp_path)
    exchange.register(id="pub-1", domains=("127.0.0.1", "localhost"))
    yield exchange
    exchange.writer.stop()


def sent_again(exchange: Exchange, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Send a recorded request; return its body and the answer."""
    recorded = json.loads(RECORDED[name].read_text("utf-8"))
    body, query = recorded["body"], dict(recorded["query"])
    if "sid" in query:
        query["sid"] = "pub-1"
    data = json.dumps(body).encode()
    if query.get("gzip") == "1":
        data = zipped(data)
    kept = {name: value for name, value in recorded["headers"].items() if name != "Host"}
    answer = exchange.client.post(
        "/openrtb2/auction" + (f"?{urlencode(query)}" if query else ""), data=data, headers=kept
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == recorded["headers"]["Origin"]
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    return body, json.loads(answer.data)


def wanted(asset: dict[str, Any], given: dict[int, Any]) -> bool:
    """Say whether Prebid finds a required asset in what was given."""
    found = given.get(asset["id"], {})
    return any(kind in found for kind in ("title", "img", "data") if kind in asset)


@pytest.mark.parametrize("name", RECORDED)
def test_what_prebid_sent_is_bid_on_as_prebid_takes_it(exchange: Exchange, name: str) -> None:
    body, told = sent_again(exchange, name)
    imps = {imp["id"]: imp for imp in body["imp"]}
    assert told["id"] == body["id"] and told["cur"] == "EUR"
    bids = [(seat["seat"], bid) for seat in told["seatbid"] for bid in seat["bid"]]
    assert {bid["impid"] for _, bid in bids} == set(imps)
    for seat, bid in bids:
        imp = imps[bid["impid"]]
        params = imp["ext"].get("prebid", {}).get("bidder")
        assert seat in (params or {"tactful": {}})
        assert bid["crid"] and bid["adomain"] and bid["price"] >= imp.get("bidfloor", 0) / 1.25
        if bid["mtype"] == 1:
            assert {"w": bid["w"], "h": bid["h"]} in imp["banner"]["format"]
        else:
            given = {asset["id"]: asset for asset in json.loads(bid["adm"])["assets"]}
            asked = json.loads(imp["native"]["request"])["assets"]
            assert all(wanted(asset, given) for asset in asked if asset["required"])
        dsa = body.get("regs", {}).get("ext", {}).get("dsa")
        assert ("dsa" in bid["ext"]) == (dsa is not None)
        if dsa is not None:
            assert bid["ext"]["dsa"]["adrender"] == 1  # the page says that it will not
    assert exchange.rows() == []


def test_all_that_was_recorded_is_here() -> None:
    assert {"plain", "fpd", "tcfAll", "gpp", "gpc", "floors", "gzip", "stored", "direct_rixengine"} <= set(
        RECORDED
    )


def test_a_recorded_string_without_its_disclosed_vendors_is_relied_on_by_nobody(exchange: Exchange) -> None:
    """The reference encoder of the recording leaves the segment out that TCF 2.3 asks for."""
    exchange.again(public_url="https://ads.example", purpose_2_refused="silence")
    for name in ("tcfNoP1", "tcfAll"):
        assert sent_again(exchange, name)[1]["nbr"] == 503
    assert "seatbid" in sent_again(exchange, "plain")[1]
