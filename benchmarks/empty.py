"""The floor: a Flask view that parses the body and answers fixed bytes, under the service's own server settings."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from flask import Flask, Response, request

from engine.config import Config
from engine.serve import run_granian


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks empty", description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--answer", type=Path, required=True, help="file of the bytes that are answered")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        run_granian(partial(make_app, options.answer.read_bytes()), Config(port=options.port), Path(folder))
    return 0


def make_app(answer: bytes) -> Flask:
    """Make an app of one view."""
    app = Flask("empty", static_folder=None)

    @app.post("/v1/decisions")
    def decide() -> Response:
        request.get_json()
        return Response(answer, mimetype="application/json")

    return app
