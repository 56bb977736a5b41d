"""Fetching a publisher's page: what is asked for, what is refused, and when it ends."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from contexts.errors import FetchError
from contexts.fetch import Fetcher, FetchPolicy, public_address, resolve

ARTICLE = (
    "<html lang=en><head><title>Tulips</title></head><body><nav>Home</nav><article>"
    + "<p>Plant the bulbs in autumn, three times as deep as they are high, and water them well.</p>" * 8
    + "</article></body></html>"
)
Answer = tuple[int, dict[str, str], bytes]


class Site:
    """A web server on 127.0.0.1 that answers from a table and remembers what it was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer | Callable[[Any], None]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                found = site.pages.get(self.path, (404, {}, b""))
                if callable(found):
                    found(self.wfile)
                    return
                status, headers, body = found
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *args: None  # type: ignore[method-assign]
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def html(self, path: str, body: str = ARTICLE, **headers: str) -> None:
        self.pages[path] = (200, {"Content-Type": "text/html; charset=utf-8", **headers}, body.encode())

    def url(self, path: str) -> str:
        return f"http://news.example:{self.port}{path}"

    def policy(self) -> FetchPolicy:
        return FetchPolicy(
            contact="https://tactful.example/bot",
            domains=frozenset({"news.example"}),
            allow_address=lambda address: address == "127.0.0.1" or public_address(address),
            resolve=lambda host, port: ["127.0.0.1"],
            ports=frozenset({80, 443, self.port}),
            timeout_s=2.0,
        )

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()
    site.thread.join()


def refused(fetcher: Fetcher, url: str) -> str:
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(url)
    return caught.value.reason


def test_an_article_is_read_and_the_request_says_who_asks_and_nothing_of_a_reader(site: Site) -> None:
    site.html("/garden/tulips")
    page = Fetcher(site.policy()).fetch(site.url("/garden/tulips?reader=ada&mail=a@b.c#top"))
    assert page.title == "Tulips"
    assert page.language == "en"
    assert "Plant the bulbs in autumn" in page.text
    assert "Home" not in page.text
    path, headers = site.asked[-1]
    assert path == "/garden/tulips"
    assert headers["user-agent"] == "TactfulBot/1.0 (+https://tactful.example/bot)"
    assert not headers.keys() & {"cookie", "referer", "authorization", "x-forwarded-for"}


def test_a_cookie_is_not_sent_back(site: Site) -> None:
    site.html("/a", **{"Set-Cookie": "id=1"})
    fetcher = Fetcher(site.policy())
    fetcher.fetch(site.url("/a"))
    fetcher.fetch(site.url("/a"))
    assert all("cookie" not in headers for _, headers in site.asked)


def test_a_subdomain_counts_as_its_domain_and_a_lookalike_does_not(site: Site) -> None:
    site.html("/")
    fetcher = Fetcher(site.policy())
    assert fetcher.fetch(f"http://sport.news.example:{site.port}/").title == "Tulips"
    for host in ("evilnews.example", "news.example.evil.test", "example", "127.0.0.1", "localhost", "[::1]"):
        assert refused(fetcher, f"http://{host}:{site.port}/") in ("domain", "url")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://news.example/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://user:secret@news.example/",
        "http://news.example:22/",
        "http://news.example:99999/",
        "http://",
        "",
        "http://[news.example/",
        "gopher://news.example:80/_GET",
        "http://news.example\r\nHost: evil.test/",
    ],
)
def test_an_odd_url_is_refused_before_anything_is_asked(site: Site, url: str) -> None:
    assert refused(Fetcher(site.policy()), url) in ("url", "domain")
    assert site.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "192.0.2.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "::127.0.0.1",
        "not an address",
    ],
)
def test_an_address_that_is_not_of_the_public_internet_is_refused(site: Site, address: str) -> None:
    assert not public_address(address)
    policy = replace(
        site.policy(), allow_address=public_address, resolve=lambda host, port: ["8.8.8.8", address]
    )
    assert refused(Fetcher(policy), site.url("/")) == "address"
    assert site.asked == []


def test_public_addresses_are_allowed() -> None:
    assert public_address("93.184.215.14")
    assert public_address("2606:2800:21f:cb07:6820:80da:af6b:8b2c")


def test_the_systems_resolver_is_not_trusted_with_loopback() -> None:
    assert not any(public_address(address) for address in resolve("localhost", 80))


def test_a_redirect_to_the_clouds_metadata_is_refused(site: Site) -> None:
    site.pages["/go"] = (302, {"Location": "http://169.254.169.254/latest/meta-data/"}, b"")
    assert refused(Fetcher(site.policy()), site.url("/go")) == "domain"


def test_a_redirect_is_resolved_and_checked_anew(site: Site) -> None:
    site.pages["/go"] = (302, {"Location": f"http://inner.news.example:{site.port}/secret"}, b"")
    site.html("/secret")
    policy = replace(
        site.policy(),
        resolve=lambda host, port: ["169.254.169.254"] if host == "inner.news.example" else ["127.0.0.1"],
    )
    assert refused(Fetcher(policy), site.url("/go")) == "address"
    assert "/secret" not in site.paths()


def test_a_name_that_changes_its_address_is_checked_at_each_connection_and_only_there(site: Site) -> None:
    site.html("/")
    answers: list[list[str]] = [["127.0.0.1"], ["127.0.0.1"], ["10.0.0.1"]]
    lookups = iter(answers)
    fetcher = Fetcher(replace(site.policy(), resolve=lambda host, port: next(lookups)))
    assert fetcher.fetch(site.url("/")).title == "Tulips"  # robots.txt, then the page: one lookup each
    assert refused(fetcher, site.url("/")) == "address"


def test_redirects_within_the_site_are_followed_three_times_and_no_more(site: Site) -> None:
    for n in range(5):
        site.pages[f"/{n}"] = (301, {"Location": f"/{n + 1}"}, b"")
    site.html("/3")
    assert Fetcher(site.policy()).fetch(site.url("/0")).title == "Tulips"
    site.pages["/3"] = (301, {"Location": "/4"}, b"")
    assert refused(Fetcher(site.policy()), site.url("/0")) == "redirects"


def test_robots_are_obeyed_and_asked_once(site: Site) -> None:
    rules = b"User-agent: TactfulBot\nDisallow: /private\n\nUser-agent: *\nDisallow: /\n"
    site.pages["/robots.txt"] = (200, {"Content-Type": "text/plain"}, rules)
    site.html("/open")
    site.html("/private/a")
    fetcher = Fetcher(site.policy())
    fetcher.fetch(site.url("/open"))
    assert refused(fetcher, site.url("/private/a")) == "robots"
    assert site.paths() == ["/robots.txt", "/open"]


def test_robots_are_asked_again_after_a_day(site: Site) -> None:
    site.html("/open")
    now = [0.0]
    fetcher = Fetcher(site.policy(), clock=lambda: now[0])
    fetcher.fetch(site.url("/open"))
    now[0] = 86_401.0
    fetcher.fetch(site.url("/open"))
    assert site.paths().count("/robots.txt") == 2


@pytest.mark.parametrize("place", ["http://[", "http://[::1", "//news.example:port/"])
def test_a_redirect_that_is_no_url_is_refused_as_such(site: Site, place: str) -> None:
    site.pages["/moved"] = (302, {"Location": place}, b"")
    assert refused(Fetcher(site.policy()), site.url("/moved")) == "url"
    site.pages["/robots.txt"] = (302, {"Location": place}, b"")
    assert refused(Fetcher(site.policy()), site.url("/moved")) == "robots"


def test_a_redirect_to_a_path_that_is_not_escaped_leads_there(site: Site) -> None:
    site.pages["/moved"] = (302, {"Location": "/stra\u00dfe tulips".encode().decode("latin-1")}, b"")
    site.html("/stra%C3%9Fe%20tulips")
    assert Fetcher(site.policy()).fetch(site.url("/moved")).title == "Tulips"


def test_where_robots_fail_nothing_is_fetched(site: Site) -> None:
    site.pages["/robots.txt"] = (503, {}, b"")
    site.html("/open")
    assert refused(Fetcher(site.policy()), site.url("/open")) == "robots"


@pytest.mark.parametrize("kind", ["application/pdf", "image/png", "application/json", ""])
def test_what_is_not_html_is_refused(site: Site, kind: str) -> None:
    site.pages["/x"] = (200, {"Content-Type": kind}, b"x")
    assert refused(Fetcher(site.policy()), site.url("/x")) == "type"


def test_a_missing_page_is_not_read(site: Site) -> None:
    assert refused(Fetcher(site.policy()), site.url("/none")) == "status"


def test_a_page_of_more_than_a_megabyte_is_refused(site: Site) -> None:
    site.html("/big", "x" * 1_000_001)
    assert refused(Fetcher(site.policy()), site.url("/big")) == "size"


def test_gzip_is_unpacked(site: Site) -> None:
    headers = {"Content-Type": "text/html", "Content-Encoding": "gzip"}
    site.pages["/z"] = (200, headers, gzip.compress(ARTICLE.encode()))
    assert Fetcher(site.policy()).fetch(site.url("/z")).title == "Tulips"


def test_a_zip_bomb_is_refused_before_it_unfolds(site: Site) -> None:
    headers = {"Content-Type": "text/html", "Content-Encoding": "gzip"}
    site.pages["/bomb"] = (200, headers, gzip.compress(b"\0" * 50_000_000, 1))
    assert refused(Fetcher(site.policy()), site.url("/bomb")) == "size"


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip"])
def test_other_encodings_are_refused(site: Site, encoding: str) -> None:
    site.pages["/e"] = (200, {"Content-Type": "text/html", "Content-Encoding": encoding}, b"abc")
    assert refused(Fetcher(site.policy()), site.url("/e")) == "encoding"


def test_broken_gzip_is_refused(site: Site) -> None:
    site.pages["/e"] = (200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, b"abc")
    assert refused(Fetcher(site.policy()), site.url("/e")) == "encoding"


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"])
def test_a_page_that_drips_ends_with_the_deadline(site: Site, head: bytes) -> None:
    """In the header, or in the body: each byte is in time, the whole is not."""

    def drip(out: Any) -> None:
        out.write(head or b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(100):
            out.write(b"x")
            out.flush()
            time.sleep(0.05)

    site.pages["/drip"] = drip
    began = time.monotonic()
    assert refused(Fetcher(replace(site.policy(), timeout_s=0.4)), site.url("/drip")) == "timeout"
    assert time.monotonic() - began < 3.0


def test_what_is_not_http_is_an_error_of_ours(site: Site) -> None:
    site.pages["/odd"] = lambda out: out.write(b"\x00\x01\x02 nonsense\r\n\r\n")
    assert refused(Fetcher(site.policy()), site.url("/odd")) == "network"


def test_an_unknown_name_is_an_error_of_ours(site: Site) -> None:
    def nobody(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    assert refused(Fetcher(replace(site.policy(), resolve=nobody)), site.url("/")) == "dns"


def test_a_page_is_read_in_the_charset_that_it_names(site: Site) -> None:
    body = "<html><head><meta charset=iso-8859-1><title>Caf\u00e9</title></head><body>x</body></html>"
    site.pages["/c"] = (200, {"Content-Type": "text/html"}, body.encode("iso-8859-1"))
    assert Fetcher(site.policy()).fetch(site.url("/c")).title == "Caf\u00e9"


def test_a_resolver_that_hangs_holds_nobody_beyond_the_deadline(site: Site) -> None:
    site.html("/a")
    answers, asked = threading.Event(), []

    def hanging(host: str, port: int) -> list[str]:
        asked.append(host)
        answers.wait(20)
        return ["127.0.0.1"]

    fetcher = Fetcher(replace(site.policy(), resolve=hanging, timeout_s=0.2))
    began = time.monotonic()
    assert {refused(fetcher, site.url("/a")) for _ in range(9)} == {"timeout"}
    assert time.monotonic() - began < 5
    assert len(asked) < 9  # what hangs is bounded, and the rest refused at once
    answers.set()
    for _ in range(100):
        time.sleep(0.05)
        if len([one for one in threading.enumerate() if one.name == "lookup"]) == 0:
            break
    fetcher.policy = replace(fetcher.policy, timeout_s=20.0)  # the machine may be busy
    assert fetcher.fetch(site.url("/a")).title == "Tulips"
