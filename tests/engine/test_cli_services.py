"""Commands that ask the real services: decide, explain, diagnose, quality, and a backup of what they serve."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.cli import main

DEMO = "engine/demo/catalog.ndjson"
BREAD = "How to bake sourdough bread at home: flour, water, salt, a warm oven and a night of patience."
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def run(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run commands over the demo's catalogue."""
    folder = tmp_path_factory.mktemp("services")
    (folder / "data").mkdir()
    shutil.copytree(models, folder / "data" / "models", copy_function=os.link)
    environ = {
        "TACTFUL_DATA_DIR": str(folder / "data"),
        "TACTFUL_KEY_DIR": str(folder / "keys"),
        "TACTFUL_WEATHER": "none",
    }

    def run(*words: str, code: int = 0, input: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(main, list(words), env=environ, input=input)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    run("load", str(Path(__file__).parents[2] / DEMO))
    return run


def asked(**page: str) -> str:
    return json.dumps(
        {"publisher": "demo", "placements": [{"id": "end", "formats": ["native"]}], "page": page}
    )


def test_decide_answers_as_the_service_would(run: Run) -> None:
    told = json.loads(run("decide", input=asked(text=BREAD)).stdout)
    assert [filled["placement"] for filled in told["decisions"]] == ["end"]
    assert not told["degraded"]


def test_decide_names_what_is_wrong_and_ends_with_2(run: Run) -> None:
    told = json.loads(run("decide", input=asked(description="only"), code=2).stdout)
    assert [error["field"] for error in told["errors"]] == ["page"]
    assert json.loads(run("decide", input=b"\xff", code=2).stdout)["status"] == 400


@pytest.mark.parametrize("text", [BREAD, f"<html><title>Bread</title><body><p>{BREAD}</p></body></html>"])
def test_explain_says_what_is_understood_of_text_and_html(run: Run, text: str, tmp_path: Path) -> None:
    (tmp_path / "page").write_text(text)
    from_file = run("explain", str(tmp_path / "page"), "--publisher", "demo", "--json").stdout
    told = json.loads(run("explain", "-", "--publisher", "demo", "--json", input=text).stdout)
    assert told["page"] == json.loads(from_file)["page"]
    assert told["candidates"]
    assert "candidates:" in run("explain", "-", input=text).stdout  # of the only publisher there is


def test_explain_names_what_cannot_be_explained(run: Run) -> None:
    assert "nobody" in run("explain", "-", "--publisher", "nobody", input=BREAD, code=2).stderr
    assert "/no/such" in run("explain", "/no/such", "--publisher", "demo", code=2).stderr
    assert (
        "place.country"
        in run("explain", "-", "--publisher", "demo", "--country", "ZZ", input=BREAD, code=2).stderr
    )


def test_a_url_that_nobody_read_is_told_with_the_remedy(run: Run) -> None:
    told = run("explain", "https://127.0.0.1/never-seen", "--publisher", "demo")
    assert "FILE" in told.stderr


def test_diagnose_says_whether_a_campaign_can_run(run: Run) -> None:
    campaign = first_campaign()
    told: dict[str, Any] = json.loads(run("diagnose", campaign, "--json").stdout)
    assert told["could_run_on"]
    assert "no-such-campaign" in run("diagnose", "no-such-campaign", code=1).stderr


def test_quality_shows_each_facet(run: Run) -> None:
    assert json.loads(run("quality", "--json").stdout)
    assert run("quality").stdout


def first_campaign() -> str:
    catalog = (Path(__file__).parents[2] / DEMO).read_text().splitlines()
    return next(str(thing["id"]) for thing in map(json.loads, catalog) if thing["kind"] == "campaign")
