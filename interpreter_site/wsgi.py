import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.core.wsgi import get_wsgi_application

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "interpreter_site.settings")


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
        return self.application(environ, start_response)


application = ChunkedBodies(get_wsgi_application())
