"""Answers that come after their request's thread went on: granian's own way, which WSGI has no word for.

What waits for the disk would hold a thread, and to wake a thread for each event costs more than the event. Granian
hands a request to its wrapper of a WSGI application as an object that any thread may answer by, once. It is handed on
under LATER; an application that takes it raises Pending, and answers when it can. Where a server has no such thing,
LATER is not there, and threads wait.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

LATER = "tactful.later"  # in the environ as the server made it; what is there is a Send
_HOOK = "_wsgi_call_wrap"  # granian's name for its wrapper: where another release has none, threads wait

Send = Callable[[int, list[tuple[str, str]], bytes], None]  # status, headers, body: from any thread, once


class Pending(Exception):
    """The answer of this request is sent by another thread."""


def answer_later() -> None:
    """Have this process' granian put LATER into each environ. Called in a worker, before it serves."""
    from granian.server import mp

    if hasattr(mp, _HOOK):
        setattr(mp, _HOOK, _handing_on(getattr(mp, _HOOK)))


def _handing_on(wrap: Callable[..., Callable[[Any, dict[str, Any]], Any]]) -> Callable[..., Any]:
    @wraps(wrap)
    def wrapper(*args: Any, **options: Any) -> Callable[[Any, dict[str, Any]], Any]:
        run = wrap(*args, **options)

        @wraps(run)
        def answer(request: Any, scope: dict[str, Any]) -> Any:
            scope[LATER] = request.response_bytes
            try:
                return run(request, scope)
            except Pending:
                return None

        return answer

    return wrapper
