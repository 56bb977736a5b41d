"""Decoding pages as browsers do."""

from __future__ import annotations

import pytest

from contexts.charset import decoded

FRENCH = "<title>« L’été à 5 € »</title>"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("said", ["", "text/html; charset=iso-8859-1"])
def test_a_byte_order_mark_wins_over_all_that_is_said(encoding, said):
    assert decoded(FRENCH.encode(encoding), said) == FRENCH


@pytest.mark.parametrize("label", ["iso-8859-1", "latin1", "us-ascii", "windows-1252", '"CP1252"'])
def test_the_old_western_labels_mean_windows_1252(label):
    assert decoded(FRENCH.encode("cp1252"), f"text/html; charset={label}") == FRENCH


def test_what_says_nothing_and_is_no_utf_8_is_windows_1252():
    assert decoded(FRENCH.encode("cp1252")) == FRENCH
    assert decoded(FRENCH.encode()) == FRENCH


def test_the_header_wins_over_the_document_and_the_document_over_nothing():
    page = '<meta charset="windows-1251"><p>Суп'
    assert decoded(page.encode("cp1251"), "text/html") == page
    assert decoded(page.encode("utf-8"), "text/html; charset=utf-8") == page
    xml = '<?xml version="1.0" encoding="koi8-r"?><p>Суп'
    assert decoded(xml.encode("koi8-r")) == xml


def test_a_document_that_could_be_read_is_no_utf_16():
    assert decoded('<meta charset="utf-16"><p>é'.encode()).endswith("é")


@pytest.mark.parametrize(
    "label", ["unicode_escape", "punycode", "hex", "rot13", "utf-7", "zlib_codec", "none"]
)
def test_codecs_that_are_none_of_the_web_are_not_used(label):
    text = "<p>\\u003cscript\\u003e +ADw- -été"
    assert decoded(text.encode(), f"text/html; charset={label}") == text


@pytest.mark.parametrize("label", ["gb2312", "shift_jis", "big5", "euc-kr"])
def test_what_cannot_be_read_is_replaced(label):
    assert decoded(b"soup \xff\xff\xff", f"text/html; charset={label}").startswith("soup ")
