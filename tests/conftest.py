"""With TACTFUL_REQUIRE_ALL=1 every skip is a failure: where all tools are installed, nothing is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.postgres import Server, binaries

REQUIRE_ALL = os.environ.get("TACTFUL_REQUIRE_ALL") == "1"
# Begun before all others, by what they take: at the end no process shall wait for another that has just begun one of
# these. The two of the README take turns at its ports, and so stand apart.
LONGEST = (
    *("test_prove_acknowledged.py", "test_accessibility.py", "test_prove_noise.py", "test_no_identity.py"),
    *("test_tag.py", "test_demo_browser.py", "test_prove_no_identity.py", "test_help_examples.py"),
    *("test_readme.py", "test_log_crash.py", "test_prebid_browser.py", "test_architecture.py"),
    *("test_cli_services.py", "test_serve_postgres.py", "test_serve.py", "test_services.py"),
    *("test_readme_page.py", "test_openrtb.py", "test_decisions.py", "test_store_postgres.py"),
)


def pytest_configure(config):
    """Have `--dist loadfile` keep the order below; by itself it begins with the files of most tests."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """The longest files first."""
    rank = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


def _required(report):
    if REQUIRE_ALL and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"TACTFUL_REQUIRE_ALL=1, but skipped: {report.longrepr[2]}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """A skipped test."""
    return _required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """A skipped module."""
    return _required((yield))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export the packaged model, with the vectors of what it was taught, once for all tests, in whatever process.

    Link or copy the folder into a service's data, never write.
    """
    from contexts.page import TopicModel
    from contexts.taxonomy import content_taxonomy
    from engine.config import Config
    from engine.recipe import VectorFiles, open_recipe

    base = tmp_path_factory.getbasetemp()
    data = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made-once"
    data.mkdir(exist_ok=True)
    with FileLock(data / "lock"):
        encoder = open_recipe(Config(data_dir=data, key_dir=data / "keys")).encoder
        TopicModel.build(encoder, content_taxonomy(), VectorFiles(data / "models" / "vectors"))
    return data / "models"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """Start a PostgreSQL server for all tests that need one."""
    pytest.importorskip("psycopg", reason="needs the extra 'postgres'")
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server here: install Debian's postgresql")
    server = Server(programs)
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def setting(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Give the setting `store` for each kind of store: what holds for one has to hold for the other."""
    yield from _setting(request)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def module_setting(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Give the same to all tests of a module."""
    yield from _setting(request)


def _setting(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    with request.getfixturevalue("postgres").database() as url:
        yield url


@pytest.fixture
def store_url(setting: str | None, tmp_path: Path) -> str:
    """Name a store of each kind that does not exist yet."""
    return setting or f"sqlite:///{tmp_path}/tactful.db"
