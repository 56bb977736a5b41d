"""A witness over HTTP (C2SP tlog-witness): cosigns checkpoints, and serves those that it cosigned."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from flask import Flask, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from engine.log_witness import WitnessFiles
from privacy.checkpoint import Signer
from privacy.log_policy import LogPolicy
from privacy.witness import MOST_BODY_BYTES, TEXT_MEDIA, add_checkpoint

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


def create_witness_app(
    logs: LogPolicy, signer: Signer, store: WitnessFiles, now: Callable[[], datetime]
) -> Flask:
    """Make the app of a witness of these logs."""
    app = Flask("tactful-witness", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BODY_BYTES

    @app.post("/add-checkpoint")
    def add() -> Response:
        try:
            body = request.get_data(cache=False)
        except RequestEntityTooLarge:
            return Response(f"request: got more than {MOST_BODY_BYTES} bytes\n", 413, content_type=TEXT_MEDIA)
        answer = add_checkpoint(body, logs, signer, store, int(now().timestamp()))
        return Response(answer.body, answer.status, content_type=answer.media)

    @app.get("/<name>/checkpoint")
    def checkpoint(name: str) -> Response:
        note = store.by_hash(name) if _HASH.fullmatch(name) else None
        if note is None:
            return Response("no checkpoint of such a log was cosigned here\n", 404, content_type=TEXT_MEDIA)
        return Response(note, 200, {"Cache-Control": "no-cache"}, content_type=TEXT_MEDIA)

    return app
