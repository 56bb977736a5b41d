"""The service does what /openapi.json says: schemathesis asks, every check has to hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import available_timezones

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator
from schemathesis.config import SchemathesisConfig

from engine.store import SqliteStore
from privacy.visit import COUNTRIES
from tests.engine.web.conftest import FakeServices, Service, admission_of, request, seed_catalogue

# Formats that JSON Schema leaves to their owners, and one that the schema narrows by a pattern.
schemathesis.openapi.format("iana-timezone", st.sampled_from(sorted(available_timezones())))
schemathesis.openapi.format("iso-3166-1", st.sampled_from(sorted(COUNTRIES)))
schemathesis.openapi.format(
    "date-time", st.datetimes().map(lambda at: at.replace(year=2000 + at.year % 100, day=2).isoformat() + "Z")
)

EXISTING = {"publisher": "planet", "advertiser": "acme", "campaign": "k1"}
# 422 to a body that fits its schema: what no schema can say, such as a reference to another thing, a domain
# that is not the advertiser's, or two placements of one id.
ACCEPTED = ["2xx", "401", "403", "404", "409", "422", "429"]
CONFIG = SchemathesisConfig.from_dict(
    {
        # The frameworks want 400: for what no pinned key signed, and for two impressions of one id.
        "operations": [
            {
                "include-path": path,
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "400"]}},
            }
            for path in ("/v1/deletions", "/openrtb2/auction")
        ],
        "generation": {"deterministic": True, "max-examples": 8},
        "checks": {
            "positive_data_acceptance": {"expected-statuses": ACCEPTED},
        },
    }
)


@contextmanager
def opened(folder: Path) -> Iterator[Service]:
    keys = seed_catalogue(folder / "catalog.db")
    services = FakeServices(SqliteStore(folder / "catalog.db"))
    services.admission = admission_of(services)
    yield Service(services, keys)
    services.close()


class Door:
    """The app as schemathesis holds it from collection on: a service stands behind it while tests run."""

    service: Service

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.service.app(environ, start_response)


def described(door: Door) -> Any:
    with TemporaryDirectory() as folder, opened(Path(folder)) as door.service:
        return schemathesis.openapi.from_wsgi("/openapi.json", door, config=CONFIG)


door = Door()
schema = described(door)


@pytest.fixture(scope="module")
def openapi_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with opened(tmp_path_factory.mktemp("openapi")) as door.service:
        yield door.service


@schema.parametrize()
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_service_does_what_it_says(case: schemathesis.Case, openapi_service: Service) -> None:
    headers = {}
    if case.operation.definition.raw.get("security"):
        headers["Authorization"] = f"Bearer {openapi_service.keys['operator']}"
    if case.meta and case.meta.generation.mode.is_positive and isinstance(case.body, dict):
        # No schema knows what exists: name what does, so that the answers past the look-up are checked too.
        case.body |= {name: id for name, id in EXISTING.items() if name in case.body}
    case.call_and_validate(headers=headers)


def test_the_document_is_openapi_3_1(openapi_service: Service) -> None:
    document = openapi_service.client.get("/openapi.json").json
    assert document is not None
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        Draft202012Validator({**schema, "components": document["components"]})


def test_real_requests_and_answers_fit_their_schemas(openapi_service: Service) -> None:
    document = openapi_service.client.get("/openapi.json").json
    assert document is not None

    def fits(name: str, value: Any) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator(schema).validate(value)

    fits("DecisionBody", request())
    fits("Answer", openapi_service.decide().json)
    fits("Problem", openapi_service.decide(request(page={})).json)
    with pytest.raises(ValueError, match="page"):
        fits("DecisionBody", request(page={"description": "only"}))
