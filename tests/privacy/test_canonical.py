"""Equal values have equal bytes; what has more than one spelling has none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.canonical import canonical

NAME = st.text(st.characters(max_codepoint=127), max_size=8)
VALUES = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.booleans()
    | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAME, inner, max_size=4),
    max_leaves=12,
)


def test_names_are_ordered_and_text_is_written_as_it_is():
    assert canonical({"b": [1, None, True], "a": "é\n"}) == b'{"a":"\xc3\xa9\\n","b":[1,null,true]}'


@pytest.mark.parametrize(
    "value", [0.5, {"a": [1, {"b": 1.0}]}, float("nan"), {"é": 1}, {1: 2}, 2**53, {"a": [{"b": b"x"}]}]
)
def test_what_has_more_than_one_spelling_is_refused(value):
    with pytest.raises(ValueError, match="expected|ASCII"):
        canonical(value)


@given(VALUES)
def test_it_reads_back_as_what_was_written(value):
    assert json.loads(canonical(value)) == value
