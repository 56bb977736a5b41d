"""A name that stands twice in a JSON object is found, however many others there are."""

from __future__ import annotations

import pytest

from engine.json_names import _once, _Repeated, repeated_name


class Name(str):
    """A name that counts how often it is compared with another."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        type(self).compared += 1
        return str.__eq__(self, str(other))

    __hash__ = str.__hash__


def test_the_first_name_that_comes_again_is_told() -> None:
    assert repeated_name(b'{"a": 1, "b": {"c": 1, "d": 2, "d": 3, "c": 4}}') == "d"
    assert repeated_name(b'{"a": 1, "b": {"a": 1}}') is None


def test_names_are_not_compared_each_with_each() -> None:
    # 200,000 names, of which the last came before, took minutes.
    names = [Name(number) for number in range(1000)]
    with pytest.raises(_Repeated):
        _once([(name, 1) for name in (*names, Name(999))])
    assert Name.compared < 3000
