"""Event tokens: only their service reads them, a damaged one is none, and the view's number stands in no token."""

from __future__ import annotations

import base64
import string

import pytest

from privacy.event_token import LONGEST, RANDOM_BYTES, VIEW_BYTES, Sealer

SECRET, DRAWN, DAY = b"s" * 32, b"r" * RANDOM_BYTES, 20_785
DATA = b"campaign spring costs 1234"


@pytest.fixture
def sealer():
    return Sealer(SECRET)


def test_another_process_with_the_secret_reads_it(sealer):
    opened = Sealer(SECRET).open(sealer.seal(DAY, DRAWN, 7, DATA), DAY)
    assert opened is not None
    assert (opened.data, opened.slot, opened.view) == (DATA, 7, sealer.view(DAY, DRAWN))
    assert len(opened.view) == VIEW_BYTES


@pytest.mark.parametrize(
    ("later", "readable"), [(-2, False), (-1, True), (0, True), (1, True), (254, True), (255, False)]
)
def test_keys_change_by_day_and_earlier_ones_still_read(sealer, later, readable):
    token = sealer.seal(DAY, DRAWN, 0, DATA)
    assert (sealer.open(token, DAY + later) is not None) == readable


def test_equal_contents_of_two_days_and_two_page_views_have_nothing_in_common(sealer):
    tokens = [
        base64.urlsafe_b64decode(sealer.seal(day, drawn, 0, DATA) + "==")
        for day in (DAY, DAY + 1)
        for drawn in (DRAWN, b"q" * RANDOM_BYTES)
    ]
    assert len({token[13:29] for token in tokens}) == 4


def test_neither_contents_nor_the_views_number_stand_in_a_token(sealer):
    sealed = base64.urlsafe_b64decode(sealer.seal(DAY, DRAWN, 0, DATA) + "==")
    assert b"spring" not in sealed and b"1234" not in sealed
    view = sealer.view(DAY, DRAWN)
    assert not any(view[at : at + 3] in sealed for at in range(VIEW_BYTES - 2))
    assert view != Sealer(b"t" * 32).view(DAY, DRAWN)


def test_every_damage_makes_a_token_none(sealer):
    token = sealer.seal(DAY, DRAWN, 3, DATA)
    alphabet = string.ascii_letters + string.digits + "-_"
    for at, letter in enumerate(token[:-1]):
        other = alphabet[(alphabet.index(letter) + 32) % 64]
        assert sealer.open(token[:at] + other + token[at + 1 :], DAY) is None, at
    assert sealer.open(token[:-4], DAY) is None
    assert sealer.open(token + "AAAA", DAY) is None
    assert Sealer(b"t" * 32).open(token, DAY) is None


@pytest.mark.parametrize(
    "text", ["", "A", "A" * 39, "A" * 60, "ü" * 60, "=" * 60, "A" * LONGEST, "A" * 10**6, "\x00" * 60]
)
def test_what_is_no_token_is_none(sealer, text):
    assert sealer.open(text, DAY) is None
