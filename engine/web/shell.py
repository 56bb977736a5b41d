"""Flask without what the service does not use: sessions, cookies, signals, many hosts. A request costs less for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from flask import Flask, Request, Response
from flask.sessions import SessionInterface, SessionMixin
from werkzeug.routing import MapAdapter, Rule

from engine.web.api import Ready

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# Returns what answers a method and a path by the environ alone; None where Flask has to.
Direct = Callable[[str, str], Callable[["WSGIEnvironment"], Response | Ready] | None]


class NoSessions(SessionInterface):
    """There are no sessions and no cookies."""

    def open_session(self, app: Flask, request: Request) -> SessionMixin | None:
        """Open none."""
        return None

    def make_null_session(self, app: Flask) -> None:  # type: ignore[override]  # a null session costs an object a request
        """Make none."""

    def is_null_session(self, obj: object) -> bool:
        """Say that there is nothing to save."""
        return True


class Routes(MapAdapter):
    """The routes, bound to a request. Those whose whole path is fixed are looked up; the others are matched."""

    fixed: dict[tuple[str, str], Rule]  # by path and method

    def match(self, *args: Any, **options: Any) -> Any:
        """Find the rule of this request, as MapAdapter does."""
        rule = None if args else self.fixed.get((self.path_info, self.default_method))
        if rule is None or options != {"return_rule": True}:
            return super().match(*args, **options)
        return rule, {}


class Shell(Flask):
    """A Flask app that is reached under one URL; a `Ready` answer passes no hook."""

    def __init__(self, name: str, public_url: str) -> None:
        super().__init__(name, static_folder=None, template_folder=None)
        self.session_interface = NoSessions()
        self.url_map.strict_slashes = True
        self.url_map.merge_slashes = False  # an address is right or unknown; nothing is redirected
        self._public = urlsplit(public_url)
        self._fixed: dict[tuple[str, str], Rule] = {}
        self.direct: Direct = lambda method, path: None

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request: as Flask does, but for those whose view is reached directly."""
        view = self.direct(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if view is None:
            return super().wsgi_app(environ, start_response)
        return view(environ)(environ, start_response)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Bind the routes to a request; the host is the configured one, as the gate left no other."""
        if request is None:
            return None
        if not self._fixed:
            self._fixed = {
                (rule.rule, method): rule
                for rule in self.url_map.iter_rules()
                if not rule.arguments
                for method in rule.methods or ()
            }
        url = self._public
        routes = Routes(self.url_map, url.netloc, url.path, "", url.scheme, request.path, request.method, "")
        routes.fixed = self._fixed
        return routes

    def full_dispatch_request(self) -> Response:
        """Answer a request as Flask does, without its signals."""
        if self.before_request_funcs or self.url_value_preprocessors:
            return super().full_dispatch_request()
        self._got_first_request = True
        try:
            answer = self.dispatch_request()
        except Exception as error:
            answer = self.handle_user_exception(error)
        if isinstance(answer, Ready):
            return cast(Response, answer)  # all that `wsgi_app` does with it is to call it
        return self.finalize_request(answer)
