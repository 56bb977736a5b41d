"""Menus and questions for consent before a page's own words."""

from __future__ import annotations

import pytest

from contexts.extract import read
from contexts.menus import past_menus
from privacy.visit import PageInput

WORDS = (
    "The bakery on the corner opens at six and sells rye bread to half of the town before the first train "
    "leaves. Its owner has baked since he was a boy."
)
MENUS = [
    "Home News Sport Business Culture Travel Weather Video Live Log in Subscribe Newsletter Search Menu Close",
    "About Us | Services | Blog | Contact | FAQ | Privacy Policy | Terms of Service | Sitemap | Careers",
    "Facebook Twitter Instagram YouTube Share this article Print Email",
    "FREE SHIPPING ON ORDERS OVER $50 | Women Men Kids Sale Account Wishlist Search",
    "Skip to content Menu Subscribe Register " * 8,
]
QUESTIONS = [
    "We use cookies to personalise content and ads. By clicking accept you agree to our cookie policy.",
    "This website uses cookies to give you the best experience.",
    "Your privacy matters to us, and you may change your settings at any time.",
    "Rye Media uses cookies for personalization and for its online advertisements.",
    "We and our partners use tracking technologies and cookies to show targeted content, analyse traffic patterns, "
    "measure audiences, improve products.",
]
OWN = [
    "Home is where the bread is. Subscribe to nobody.",
    "We baked our cookies for twelve minutes, and the first tray was gone before it was cool.",
    "Search and rescue teams support the police in the hills above the town.",
    "The forum on privacy is in print by May, and who wants to help may contact its editors.",
    "Six Bakers Rise Before Dawn In Old Market Street. By Ada Lund, Night Desk, North Post, 14 May 2026, 06:00 GMT",
    "Here is who bakes: Ada Lund, Old Market Street 4, Open 06:00, Rye, Oat. Bo Dahl, New Market Street 9, Open 07:00, "
    "Wheat, Spelt. Cy Holm, Mill Lane 2, Open 05:30, Rye, Barley. Di Nord, Harbour Road 17, Open 06:30, Buns, Pies.",
    "Rye flour, water, salt. Stir, wait, fold.",
]


@pytest.mark.parametrize(
    "before", [*MENUS, *QUESTIONS, f"{QUESTIONS[0]} {MENUS[0]}", f"{MENUS[2]} {QUESTIONS[0]}"]
)
def test_a_text_begins_behind_what_stands_before_it(before: str) -> None:
    assert past_menus(f"{before} {WORDS}") == WORDS


@pytest.mark.parametrize("first", ["", "Skip to content Menu Search Close "])
def test_a_text_begins_about_where_its_sentences_do_after_a_long_list_of_names(first: str) -> None:
    sections = "News World Nation Politics Business Markets Tech Science Health Arts Books Film Stage Food Style Homes "
    teasers = (
        "Storm Hits Harbour Towns Bakers Win The Best Of The North Cup Mayor Opens New Mill Lane 14 May 2026 "
    )
    begun = past_menus(first + sections * 3 + teasers * 2 + WORDS + " " + WORDS)
    assert len(WORDS) < len(begun) < 2 * len(WORDS) + 1 + len(teasers)  # a headline's worth may stand before


@pytest.mark.parametrize("own", OWN)
def test_a_texts_own_words_stay(own: str) -> None:
    assert past_menus(f"{own} {WORDS}") == f"{own} {WORDS}"


@pytest.mark.parametrize(
    "text", ["", "!", MENUS[0], f"{MENUS[0]} Rye bread", f"{QUESTIONS[0]} Rye bread", "Home " * 400]
)
def test_where_hardly_anything_follows_nothing_is_left_out(text: str) -> None:
    assert past_menus(text) == text


def test_the_encoder_reads_a_pages_title_and_its_own_words_first() -> None:
    page = read(PageInput(title="Rye at six", text=f"{MENUS[0]} {WORDS}"))
    assert page.for_encoder() == f"Rye at six. {WORDS}"
    assert page.text.startswith("Home News")  # other readers have all
