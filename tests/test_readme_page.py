"""What the README tells publishers, copied as it stands into a new folder, shows an advertisement in a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import Live, browser, needs_chromium
from tests.test_readme import README, ROOT, Block, blocks, copy, run

needs_chromium()

SERVERS = ROOT / "engine" / "publisher" / "README.md"
LOOK = """
import json, sys
sys.path.insert(0, {root!r})
from tests.live import AGENT, Window, browser
with browser() as started:
    window = Window(started)
    for _ in range(5):  # on a busy machine the page's first view may come before it was understood
        window.page.goto("http://planet.localhost:8138/soup.html")
        window.page.wait_for_timeout(1500)
        if window.page.locator("contextual-ad iframe").count():
            break
    inner = window.page.locator("contextual-ad").locator("iframe").element_handle().content_frame()
    inner.wait_for_load_state("load")
    headline = inner.inner_text(".tactful-headline")
    label = inner.inner_text(".tactful-label")
    window.page.wait_for_timeout(1200)
    with window.window.expect_page() as opened:
        inner.click(".tactful-why")
    opened.value.wait_for_load_state("load")
    why = opened.value.inner_text("main")
    asked = []
    window.window.on("request", lambda request: asked.append(request.url))
    inner.click(".tactful-native")
    window.page.wait_for_timeout(1500)
    found = dict(headline=headline, label=label, why=why, landed=asked[-1], cookies=window.window.cookies(),
                 faults=window.faults, complaints=window.complaints, shift=window.watched()["shift"])
    print(json.dumps(found))
"""


def test_the_page_of_the_readme_shows_a_creative_that_tells_why_and_leads_somewhere(
    tmp_path: Path, models: Path
) -> None:
    text = README.read_text("utf-8")
    until = text.index("\n## ", text.index("## On your pages"))
    session = blocks(text[:until])
    look = Block("run", "python", LOOK.format(root=str(ROOT)), 10**6)
    copy(tmp_path)
    (tmp_path / "tactful-data").mkdir()  # test_readme exports the model as a newcomer does
    (tmp_path / "tactful-data" / "models").symlink_to(models, target_is_directory=True)
    printed = run([*session, look], tmp_path)[10**6].splitlines()  # what was started may say that it stops
    found = json.loads(next(line for line in printed if line.startswith("{")))
    assert found["headline"] == "Soup in four minutes"
    assert found["label"].startswith("Advertisement: Kettle & Way")
    assert "on behalf of Kettle & Way" in found["why"]
    assert found["landed"] == "https://kettle.example/soup"
    complaints = [text for text in found["complaints"] if "404" not in text]  # the site has no favicon
    assert (found["cookies"], found["faults"], complaints, found["shift"]) == ([], [], [], 0)


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", SERVERS.read_text("utf-8"), re.DOTALL)[number]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Live]:
    service = Live(tmp_path_factory.mktemp("servers"), models, host="127.0.0.1")
    yield service
    service.close()


def php(live_url: str, **server: str) -> str:
    if shutil.which("php") is None:
        pytest.skip("needs PHP")
    code = block("php").replace("http://127.0.0.1:8137", live_url).replace("daily-planet", "planet")
    assert len([line for line in code.splitlines() if line.strip()]) <= 9  # eight, and a brace
    given = "".join(f"$_SERVER[{name!r}] = {value!r};" for name, value in server.items())
    run = f"{given}{code}echo contextual_ad('top', 'https://www.planet.example/food/leeks?uid=7');"
    env = {"PATH": os.environ["PATH"]}
    told = subprocess.run(["php", "-r", run], capture_output=True, text=True, check=True, env=env)
    assert told.stderr == ""
    return told.stdout


def test_the_php_of_the_readme_shows_a_creative_and_passes_gpc_on(live: Live) -> None:
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    html = php(live.url, HTTP_USER_AGENT=agent, HTTP_SEC_GPC="1")
    assert '<div class="tactful-slot" data-placement="top" data-gpc="honored"' in html
    assert "Why this ad?" in html
    assert "data-gpc" not in php(live.url, HTTP_USER_AGENT=agent)


def test_where_the_service_is_away_or_hangs_php_shows_nothing() -> None:
    assert php("http://127.0.0.1:1") == ""


def test_a_django_and_a_jinja_page_show_a_creative_in_the_browser(live: Live) -> None:
    from tests.engine.publisher.test_templates import django, jinja
    from tests.live import SITE, Pages, Window

    assert "extensions=[ContextualAd]" in block("python")
    assert "engine.publisher.django" in block("python", 1)
    from engine.publisher.tag import head_lines

    site = Pages()
    page = (
        "<!doctype html><title>Leeks</title>{{% autoescape {off} %}}{{{{ head }}}}{{% endautoescape %}}{tag}"
    )
    made = {
        "/jinja": jinja(page.format(off="false", tag=block("jinja")), head="".join(head_lines(live.url))),
        "/django": django(page.format(off="off", tag=block("jinja", 1)), head="".join(head_lines(live.url))),
    }
    site.pages.update({path: (html, {}) for path, html in made.items()})
    with browser() as started:
        for path in made:
            window = Window(started)
            window.page.goto(f"http://{SITE}:{site.url.rpartition(':')[2]}{path}")
            inner: Any = window.page.locator("contextual-ad iframe").element_handle().content_frame()
            inner.wait_for_load_state("load")
            assert inner.locator(".tactful-label").count() == 1
            window.close()
    site.close()
