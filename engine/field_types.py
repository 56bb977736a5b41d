"""What a field's type is made of, behind its annotations and options."""

from __future__ import annotations

import types
from typing import Annotated, Literal, Union, get_args, get_origin

import msgspec


def struct_of(kind: object) -> type[msgspec.Struct] | None:
    """Return the struct that a field holds, where it holds one."""
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return next((o for o in options if isinstance(o, type) and issubclass(o, msgspec.Struct)), None)


def item_of(kind: object) -> type[msgspec.Struct] | None:
    """Return the struct of which a field is a list; None for any other field."""
    return struct_of(item_type(kind))


def item_type(kind: object) -> object:
    """Return the type of the items of which a field is a list; None for any other field."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_args(kind)[0] if get_origin(kind) is tuple else None


def options_of(kind: object) -> tuple[str, ...]:
    """Return the words of which a field takes one; nothing for any other field."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_args(kind) if get_origin(kind) is Literal else ()
