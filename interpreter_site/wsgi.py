import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from gunicorn.http.errors import ParseException

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIApplication

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "interpreter_site.settings")


class Chunks:
    """Of a stream's errors Django takes OSError for the client's, and any other for its own."""

    def __init__(self, stream: "InputStream") -> None:
        self.stream = stream

    def read(self, size: int = -1) -> bytes:
        try:
            return self.stream.read(size)
        except ParseException as error:
            raise OSError(type(error).__name__) from error

    def readline(self, size: int = -1) -> bytes:
        try:
            return self.stream.readline(size)
        except ParseException as error:
            raise OSError(type(error).__name__) from error


class ChunkedBodies:
    """Lets Django read bodies that come without a length, as LibreChat's uploads may.

    Django reads up to Content-Length, and nothing without one. gunicorn ends its stream where the
    body ends and says so, so that any length will do that is long enough.
    """

    def __init__(self, application: "WSGIApplication") -> None:
        self.application = application

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        if (
            environ.get("wsgi.input_terminated")
            and "CONTENT_LENGTH" not in environ
            and "HTTP_TRANSFER_ENCODING" in environ
        ):
            environ["CONTENT_LENGTH"] = str(sys.maxsize)
            environ["wsgi.input"] = Chunks(environ["wsgi.input"])
        return self.application(environ, start_response)


class MetricsApart:
    """Who comes to the port of the metrics gets them and nothing else, and nobody else does."""

    def __init__(self, application: "WSGIApplication", metrics: "WSGIApplication", port: int):
        self.application = application
        self.metrics = metrics
        self.port = port

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        # Of the socket itself: on a Unix socket, SERVER_PORT is what the client says.
        address = environ["gunicorn.socket"].getsockname()
        if isinstance(address, tuple) and address[1] == self.port:
            return self.metrics(environ, start_response)
        return self.application(environ, start_response)


application: "WSGIApplication" = ChunkedBodies(get_wsgi_application())
if settings.METRICS_PORT:
    # Not before Django is set up.
    from sandbox.exporting import api_metrics

    application = MetricsApart(application, api_metrics(), settings.METRICS_PORT)
