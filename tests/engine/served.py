"""The small service as a server starts it, with what it logs on standard error."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.engine.small_service import make_service


def open_app() -> Any:
    """Open it in the folder that the environment names; each request is settled at once."""
    logging.basicConfig(level=logging.DEBUG)
    service = make_service(lambda: datetime.now(UTC), os.urandom, Path(os.environ["SMALL_SERVICE_FOLDER"]))

    def app(environ: Any, start_response: Any) -> Any:
        answer = service.app(environ, start_response)
        service.settle()
        return answer

    return app
