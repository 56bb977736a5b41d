"""`tactful consent issue` and `decode`: a consent made and looked at by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.consent import claims
from tests.engine.test_cli import Shell, seeded_shell, shell

__all__ = ["seeded_shell", "shell"]  # fixtures


@pytest.fixture
def issued(seeded_shell: Shell, tmp_path: Path) -> tuple[Shell, dict[str, str]]:
    seeded_shell("init")
    notice = tmp_path / "notice.txt"
    notice.write_text("We would like to remember which articles you read.")
    return seeded_shell, json.loads(
        seeded_shell(
            *("consent", "issue", "--publisher", "planet", "--purpose", "ads.select.first_party"),
            *("--notice", str(notice), "--language", "en", "--notice-version", "3"),
        ).stdout
    )


def test_an_issued_token_acts_until_the_consent_is_withdrawn(issued: tuple[Shell, dict[str, str]]) -> None:
    shell, told = issued
    decoded = shell.json("consent", "decode", told["token"])
    assert decoded["acts"]
    assert decoded["because"] == "for ads.select.first_party"
    assert decoded["claims"] == claims(told["token"])
    assert (decoded["claims"]["sub"], decoded["claims"]["rec"]) == (told["sub"], told["record_id"])
    shell("consent", "withdraw", "--publisher", "planet", "--sub", told["sub"])
    after = json.loads(shell("consent", "decode", told["token"], "--json", code=1).stdout)
    assert not after["acts"]
    assert after["because"].startswith(("withdrawn", "lapsed"))


def test_a_damaged_token_is_said_to_be_one(issued: tuple[Shell, dict[str, str]]) -> None:
    shell, told = issued
    head, body, signature = told["token"].split(".")
    damaged = f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    assert "because: signature" in shell("consent", "decode", damaged, code=1).stdout


@pytest.mark.parametrize("text", ["", "jane@mail.example", "a.b.c", "a.W10.c"])
def test_what_is_no_token_is_refused_and_not_quoted(issued: tuple[Shell, dict[str, str]], text: str) -> None:
    told = issued[0]("consent", "decode", text, code=2)
    assert "token: got a string of" in told.output
    assert "jane" not in told.output


@pytest.mark.parametrize(
    ("option", "value", "field"),
    [
        ("--publisher", "nobody", "nobody"),
        ("--purpose", "everything", "purpose"),
        ("--language", "English!", "a BCP 47 language"),
        ("--sub", "jane@mail.example", "sub"),
    ],
)
def test_a_wrong_option_is_named(
    seeded_shell: Shell, tmp_path: Path, option: str, value: str, field: str
) -> None:
    seeded_shell("init")
    notice = tmp_path / "notice.txt"
    notice.write_text("text")
    given = {
        "--publisher": "planet",
        "--purpose": "measure.first_party",
        "--notice": str(notice),
        "--language": "en",
        "--notice-version": "3",
    } | {option: value}
    words = [word for pair in given.items() for word in pair]
    assert field in seeded_shell("consent", "issue", *words, code=2).output
