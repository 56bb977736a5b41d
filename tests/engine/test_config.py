"""Settings: defaults, the environment, and what is said of what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import Config, settings, unknown_settings
from engine.errors import ConfigError


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Config.from_env({}) == Config()


def test_each_setting_is_read_from_its_variable() -> None:
    config = Config.from_env(
        {"TACTFUL_PORT": "9000", "TACTFUL_DATA_DIR": "/srv/tactful", "TACTFUL_CURRENCY": "CHF"}
    )
    assert (config.port, config.data_dir, config.currency) == (9000, Path("/srv/tactful"), "CHF")
    assert config.origins == {
        "port": "TACTFUL_PORT",
        "data_dir": "TACTFUL_DATA_DIR",
        "currency": "TACTFUL_CURRENCY",
    }


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TACTFUL_PORT", "http"),
        ("TACTFUL_PORT", "65536"),
        ("TACTFUL_WORKERS", "0"),
        ("TACTFUL_DEADLINE_MS", "-1"),
        ("TACTFUL_POLL_MS", "6000"),
        ("TACTFUL_TEXT_TTL_S", "61"),
        ("TACTFUL_CURRENCY", "euro"),
        ("TACTFUL_PUBLIC_URL", "ads.example"),
        ("TACTFUL_PUBLIC_URL", "https://ads.example/?a=1"),
        ("TACTFUL_PUBLIC_URL", "https://ads.example:port"),
        ("TACTFUL_PUBLIC_URL", "https://[::1"),
        ("TACTFUL_WEATHER", "crystal-ball"),
        ("TACTFUL_DATA_DIR", "~nobody-of-this-name/data"),
        ("TACTFUL_DATA_DIR", ""),
    ],
)
def test_a_wrong_value_is_refused_by_the_variables_name(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        Config.from_env({variable: value})


def test_half_an_address_is_told_as_no_url() -> None:
    with pytest.raises(ConfigError, match="expected an http or https URL"):
        Config.from_env({"TACTFUL_PUBLIC_URL": "https://[::1"})


def test_a_misspelt_setting_is_told() -> None:
    environ = {"TACTFUL_LOG_PROFLE": "public", "TACTFUL_PORT": "1", "HOME": "/", "TACTFUL_SERVICE_HOST": "x"}
    assert unknown_settings(environ) == [
        "TACTFUL_LOG_PROFLE is no setting and is not read: TACTFUL_LOG_PROFILE is one",
        "TACTFUL_SERVICE_HOST is no setting and is not read",
    ]


def test_all_wrong_values_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as told:
        Config.from_env({"TACTFUL_PORT": "x", "TACTFUL_WORKERS": "y"})
    assert "TACTFUL_PORT" in str(told.value) and "TACTFUL_WORKERS" in str(told.value)


def test_keys_and_data_lie_apart() -> None:
    with pytest.raises(ConfigError, match="TACTFUL_KEY_DIR"):
        Config.from_env({"TACTFUL_DATA_DIR": "/srv/x", "TACTFUL_KEY_DIR": "/srv/y/../x"})


def test_a_weather_service_is_asked_only_with_a_contact() -> None:
    (contact,) = (f"TACTFUL_{one.name.upper()}" for one in settings() if one.name.endswith("contact"))
    with pytest.raises(ConfigError, match=contact):
        Config.from_env({"TACTFUL_WEATHER": "metno"})
    assert Config.from_env({"TACTFUL_WEATHER": "metno", contact: "ops@example.com"})


def test_the_base_url_is_what_a_browser_can_reach() -> None:
    assert Config().base_url == "http://127.0.0.1:8080"
    assert Config(host="0.0.0.0").base_url == "http://127.0.0.1:8080"
    assert Config(host="::1", port=1).base_url == "http://[::1]:1"
    assert Config(host="::", port=1).base_url == "http://127.0.0.1:1"
    assert [Config(host=host, port=1).address for host in ("::1", "::", "ads.example")] == [
        "[::1]:1",
        "[::]:1",
        "ads.example:1",
    ]
    assert Config.from_env({"TACTFUL_PUBLIC_URL": "https://ads.example/"}).base_url == "https://ads.example"


def test_what_tests_alone_read_is_no_misspelt_setting() -> None:
    assert unknown_settings({"TACTFUL_DATA": "/data", "TACTFUL_REQUIRE_ALL": "1"}) == []


def test_a_currency_has_one_rate() -> None:
    assert Config.from_env({"TACTFUL_EXCHANGE_RATES": "USD=1.08 GBP=0.86"}).rates["GBP"] == 0.86
    with pytest.raises(ConfigError, match="each currency once"):
        Config.from_env({"TACTFUL_EXCHANGE_RATES": "USD=1.08 USD=1.18"})


def test_every_setting_is_shown_with_its_origin_and_meaning() -> None:
    shown = list(Config.from_env({"TACTFUL_PORT": "1"}).overridden({"workers": 3}).shown())
    assert [row[0] for row in shown] == [setting.name for setting in settings()]
    assert all(row[3] for row in shown)
    origins = {row[0]: row[2] for row in shown}
    assert (origins["port"], origins["workers"], origins["host"]) == (
        "TACTFUL_PORT",
        "command line",
        "default",
    )
