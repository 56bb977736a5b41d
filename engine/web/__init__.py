"""The service over HTTP."""

from engine.web.app import create_app

__all__ = ["create_app"]
