"""Life, readiness, counters, pictures."""

from __future__ import annotations

import io

from PIL import Image as Pixels

from engine.change import Change
from engine.images import clean_image
from engine.web.health import CONSENTS_OFF, LOG_UNSIGNED
from tests.engine.web.conftest import NOW, Service, errors


def test_the_process_says_that_it_lives(service: Service) -> None:
    assert service.client.get("/healthz").json == {"status": "ok"}


def test_readiness_tells_why_not_yet(service: Service) -> None:
    assert service.client.get("/readyz").status_code == 200
    service.services.reason = "warming up"
    answer = service.client.get("/readyz")
    errors(answer, 503)
    assert answer.json and answer.json["detail"] == "warming up"
    assert answer.headers["Retry-After"] == "1"


def test_a_log_that_is_not_signed_is_told_of_and_decisions_are_still_ready(service: Service) -> None:
    assert service.client.get("/readyz").json == {"status": "ready"}
    service.services.consent_log.reason = "/srv/tactful/keys/log-signed.json: rolled back"
    answer = service.client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {"status": "ready", "consents": CONSENTS_OFF, "consent_log": LOG_UNSIGNED}
    assert "/srv" not in answer.text and "log-signed" not in answer.text


def test_counters_name_routes_and_outcomes_and_nobody(service: Service) -> None:
    service.decide()
    service.client.get("/healthz")
    answer = service.call("GET", "/metrics", key="operator")
    assert 'tactful_requests_total{route="decide",status="200"} 1.0' in answer.text
    assert 'tactful_missing_facets_total{facet="weather"} 1.0' in answer.text
    assert "tactful_decision_seconds_count 1.0" in answer.text
    assert "tactful_snapshot_version 7.0" in answer.text
    for told in ("planet", "_created", "c1"):
        assert told not in answer.text


def test_an_unknown_path_is_a_problem_and_a_wrong_method_says_what_is_allowed(service: Service) -> None:
    errors(service.client.get("/nope"), 404)
    answer = service.client.get("/v1/decisions")
    errors(answer, 405)
    assert answer.headers["Allow"] == "OPTIONS, POST"
    errors(service.client.open("/healthz", method="BREW"), 405)


def test_a_picture_is_kept_for_ever_by_whoever_loads_it(service: Service) -> None:
    data = io.BytesIO()
    Pixels.new("RGB", (4, 3), "red").save(data, "PNG")
    picture = clean_image(data.getvalue(), "image.data")
    store = service.services.store
    creative = store.find("creative", ["c1"])["c1"]
    store.write([Change(creative, creative)], [picture], store.versions(), "test", NOW)
    answer = service.client.get(f"/images/{picture.name}")
    assert (answer.status_code, answer.data, answer.mimetype) == (200, picture.data, picture.mime)
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert service.client.get(f"/images/{picture.hash}").data == picture.data


def test_a_picture_that_nobody_hosted_is_not_found(service: Service) -> None:
    for name in ("0" * 64 + ".png", "x.png", "..%2f..%2fetc%2fpasswd", "0" * 64 + ".svg"):
        errors(service.client.get(f"/images/{name}"), 404)
