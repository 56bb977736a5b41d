"""Each setting with its default, unit and meaning; read from the environment once, in Config.from_env."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine.errors import ConfigError, StoreError

PREFIX = "TACTFUL_"
_OF_TESTS = (
    "TACTFUL_DATA",
    "TACTFUL_REQUIRE_ALL",
    "TACTFUL_SCREENSHOTS",
)  # which they and benchmarks read alone
KEY_PURPOSES = ("page-url", "events")  # the secrets of an installation, one key each in `key_dir`
# The secrets of consent, opened apart: where one is missing, consented signals are off and pages still get theirs.
CONSENT_KEYS = ("subject", "log", "log-cosign", "issuer")
# What decides over consent and over what is learned from: the consent log is told whenever one is changed.
CONSENT_SETTINGS = ("log_profile", "tcf_role", "max_signals", "token_uses", "learner_counts", "conversions")


def _setting(default: Any, meaning: str, read: Callable[[str], Any], secret: bool = False) -> Any:
    return field(
        default=default, repr=not secret, metadata={"meaning": meaning, "read": read, "secret": secret}
    )


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return read


def _matching(pattern: str, expected: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(expected)
        return text

    return read


def _rates(text: str) -> str:
    named = [pair.partition("=")[0] for pair in text.split()]
    if not re.fullmatch(r"(?:[A-Z]{3}=[0-9]{1,9}(?:\.[0-9]{1,9})?(?: +|$))*", text) or len(set(named)) < len(
        named
    ):
        raise ValueError("pairs such as USD=1.08 GBP=0.86, each currency once")
    return text


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is no number
        is_url = False
    if not is_url or parts.query or parts.fragment:
        raise ValueError("an http or https URL without query, such as https://ads.example.com")
    return text.rstrip("/")


def read_postgres(text: str) -> str:
    """Check the URL of a PostgreSQL database. Raises ValueError that says what is expected."""
    if not re.match(r"postgres(ql)?://", text):
        raise ValueError("a URL such as postgresql://user@host/database")
    return text


def _path(text: str) -> Path:
    if not text:
        raise ValueError("a folder")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError("a folder, not one of a user who is not here") from None


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. The variable of a setting is its name in capitals behind `TACTFUL_`."""

    data_dir: Path = _setting(Path("tactful-data"), "folder of the database, pictures and indexes", _path)
    store: str | None = _setting(
        None,
        "URL of a PostgreSQL database (postgresql://…) in place of the SQLite file in the data folder",
        read_postgres,
        secret=True,
    )
    key_dir: Path = _setting(Path("tactful-keys"), "folder of secrets, apart from the data", _path)
    host: str = _setting(
        "127.0.0.1", "address to listen on", _matching(r"[0-9A-Za-z.:_-]{1,255}", "a host or address")
    )
    port: int = _setting(8080, "TCP port to listen on", _whole(0, 65535))
    public_url: str | None = _setting(
        None, "URL under which browsers reach the service; none: host and port", _url
    )
    workers: int = _setting(1, "worker processes", _whole(1, 256))
    threads: int = _setting(
        4,
        "requests that each worker works on at once; those whose body is still coming do not count",
        _whole(1, 256),
    )
    body_s: int = _setting(
        10, "seconds within which a request's body has to come; then the answer is 408", _whole(2, 600)
    )
    currency: str = _setting(
        "EUR", "the one currency of all amounts, ISO 4217", _matching("[A-Z]{3}", "three capitals")
    )
    deadline_ms: int = _setting(
        50, "milliseconds from arrival after which the best answer so far goes out", _whole(1, 10_000)
    )
    poll_ms: int = _setting(
        1000, "milliseconds between looks for a changed catalogue, in each worker", _whole(100, 5000)
    )
    text_ttl_s: int = _setting(60, "seconds that page text may stay in memory for re-encoding", _whole(0, 60))
    page_cache: int = _setting(20_000, "pages whose facts a worker keeps", _whole(1, 10_000_000))
    page_days: int = _setting(30, "days that the facts of a page are kept, never its text", _whole(1, 3650))
    consent_record_days: int = _setting(
        1095, "days that the sealed record of a consent is kept after the consent's end", _whole(0, 3650)
    )
    ladder_percent: int = _setting(
        0,
        "page views in a hundred that are put on a rung of knowing less by lot, to tell what each is worth",
        _whole(0, 100),
    )
    holdout_percent: int = _setting(
        0,
        "page views in a hundred that no learned model decides, to tell what it adds; as many are compared with them",
        _whole(0, 50),
    )
    encoder: str | None = _setting(
        None,
        "sentence-transformers model folder in place of the packaged MiniLM",
        _matching(r".{1,4096}", "a folder"),
    )
    weather: str = _setting(
        "metno",
        "source of the weather table: metno (asks for a contact), open-meteo, file:PATH or none",
        _matching(r"none|metno|open-meteo|file:.+", "none, metno, open-meteo or file:PATH"),
    )
    contact: str | None = _setting(
        None,
        "e-mail or URL that weather services and fetched sites can write to; none: no page is fetched",
        _matching(r"\S{3,200}", "an e-mail address or URL"),
    )
    operator: str | None = _setting(
        None,
        "name and address of who runs the installation, for the records of processing",
        _matching(r"[^\x00-\x1f]{1,300}", "a line of text"),
    )
    officer: str | None = _setting(
        None,
        "how to reach the data protection officer, for the records of processing",
        _matching(r"[^\x00-\x1f]{1,300}", "a line of text"),
    )
    weather_refresh_s: int = _setting(
        1800, "seconds between refreshes of the weather table", _whole(600, 86_400)
    )
    log_profile: str = _setting(
        "auditors",
        "who reads the consent log: auditors (signed every 60 s or 1,000 entries, with a compliance key), or public "
        "(by the hour, sealed and padded)",
        _matching("auditors|public", "auditors or public"),
    )
    log_witnesses: Path | None = _setting(
        None, "tlog-policy file naming the witnesses that cosign the consent log; none: nobody does", _path
    )
    tcf_role: str = _setting(
        "publisher",
        "as what the service acts under TCF: publisher, or vendor:ID of the Global Vendor List",
        _matching(r"publisher|vendor:[1-9][0-9]{0,4}", "publisher or vendor:ID"),
    )
    purpose_2_refused: str = _setting(
        "role",
        "what a reader gets whose TC string refuses Purpose 2 (limited data to select advertising): context (creatives "
        "by the page alone), silence (nothing), or role (context as the publisher's own, silence as a vendor)",
        _matching("role|context|silence", "role, context or silence"),
    )
    exchange_rates: str = _setting(
        "",
        "how much one unit of `currency` is in others, for floors and bids of OpenRTB: USD=1.08 GBP=0.86",
        _rates,
    )
    max_signals: int = _setting(
        2, "consented signals that may influence one decision; all frequency caps are one", _whole(0, 16)
    )
    token_uses: int = _setting(50, "requests that one consent token is good for", _whole(1, 100_000))
    learner_counts: str = _setting(
        "released",
        "what ranking learns from: released (noisy tables, which cost no more) or exact (the counts as they are, which "
        "is a release that no ledger knows; the consent log is told)",
        _matching("released|exact", "released or exact"),
    )
    event_profile: str = _setting(
        "tokens",
        "how events are counted: tokens (one-time addresses in each answer), or strict (no address says anything of "
        "the page view: impressions count at the decision, views and clicks do not)",
        _matching("tokens|strict", "tokens or strict"),
    )
    conversions: str = _setting(
        "counts",
        "how conversions are told: counts (by the advertiser, of a campaign and day), or clicks (beside that, by a "
        "token that the page of a reader who agreed to be measured hands on at the click; the consent log is told)",
        _matching("counts|clicks", "counts or clicks"),
    )
    origins: Mapping[str, str] = field(
        default_factory=dict, compare=False, repr=False
    )  # setting → variable it came from

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Read every TACTFUL_ variable, of the process where none are given.

        Raises ConfigError naming all that are wrong.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        wrong = []
        for setting in settings():
            variable = PREFIX + setting.name.upper()
            if variable not in environ:
                continue
            try:
                values[setting.name] = setting.read(environ[variable].strip())
            except ValueError as error:
                came = "a secret" if setting.secret else repr(environ[variable][:80])
                wrong.append(f"{variable} is {came}; expected {error} ({setting.meaning})")
        config = cls(**values, origins={name: PREFIX + name.upper() for name in values})
        if config.key_dir.resolve().is_relative_to(config.data_dir.resolve()):
            wrong.append(
                f"{PREFIX}KEY_DIR is {PREFIX}DATA_DIR or in it; expected a folder apart, so that a copy holds no key"
            )
        if "weather" in values and config.weather in ("metno", "open-meteo") and config.contact is None:
            wrong.append(f"{PREFIX}CONTACT is not set; {config.weather} asks for an e-mail address or URL")
        if wrong:
            raise ConfigError("\n".join(wrong))
        return config

    def overridden(self, values: Mapping[str, Any]) -> Config:
        """Copy with settings given on the command line."""
        return replace(self, **values, origins={**self.origins, **dict.fromkeys(values, "command line")})

    @property
    def database(self) -> Path:
        """The file of the catalogue, keys and pictures, where they are not in PostgreSQL."""
        return self.data_dir / "tactful.db"

    @property
    def store_url(self) -> str:
        """The URL of the main store; it may hold a password."""
        return self.store or f"sqlite:///{self.database}"

    @property
    def rates(self) -> dict[str, float]:
        """How much one unit of the currency is in each that amounts may be told in, itself among them."""
        pairs = (pair.split("=") for pair in self.exchange_rates.split())
        told = {name: float(rate) for name, rate in pairs}
        return {name: rate for name, rate in told.items() if rate > 0} | {self.currency: 1.0}

    @property
    def silent_on_refusal(self) -> bool:
        """Whether a reader who refuses Purpose 2 gets nothing, in place of creatives by the page alone."""
        if self.purpose_2_refused == "role":
            return self.tcf_role != "publisher"
        return self.purpose_2_refused == "silence"

    @property
    def base_url(self) -> str:
        """The URL that answers carry, without a slash at its end."""
        if self.public_url is not None:
            return self.public_url
        reached = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104 - compared
        return f"http://{replace(self, host=reached).address}"

    @property
    def address(self) -> str:
        """Where to listen, as a URL has it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def shown(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (setting, value, where it came from, meaning); a secret's value is never told."""
        for setting in settings():
            value = getattr(self, setting.name)
            text = "" if value is None else "(secret)" if setting.secret else str(value)
            yield setting.name, text, self.origins.get(setting.name, "default"), setting.meaning


def unknown_settings(environ: Mapping[str, str] | None = None) -> list[str]:
    """Say of each TACTFUL_ variable that is no setting which one its name is nearest to."""
    known = [PREFIX + setting.name.upper() for setting in settings()]
    told = []
    for name in sorted(os.environ if environ is None else environ):
        if name.startswith(PREFIX) and name not in (*known, *_OF_TESTS):
            near = get_close_matches(name, known, 1, 0.8)
            told.append(f"{name} is no setting and is not read" + (f": {near[0]} is one" if near else ""))
    return told


def make_folder(folder: Path) -> None:
    """Make the folder of the data where there is none. Raises StoreError where it cannot be made or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be written ({error.strerror}); give this user the right to, or name another folder "
            f"in {PREFIX}DATA_DIR"
        ) from error


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as the environment may give it."""

    name: str
    meaning: str
    secret: bool
    read: Callable[[str], Any]


def settings() -> Iterator[Setting]:
    """Yield every setting, in the order of Config."""
    for one in fields(Config):
        if "read" in one.metadata:
            yield Setting(one.name, one.metadata["meaning"], one.metadata["secret"], one.metadata["read"])
