"""The numbers, as Prometheus reads them: the API's on a port of their own of the same gunicorn, the
keeper's on one that it opens itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management.base import CommandError
from prometheus_client import (
    CollectorRegistry,
    ProcessCollector,
    make_wsgi_app,
    start_http_server,
)
from prometheus_client.multiprocess import MultiProcessCollector

from sandbox.gauges import Shared
from sandbox.metrics import REGISTRY

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def api_metrics() -> WSGIApplication:
    """What all workers have counted, and what all processes share."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(REGISTRY)
    registry.register(Shared())
    application: WSGIApplication = make_wsgi_app(registry)
    return application


def show_keeper() -> None:
    """What the keeper has counted."""
    host, port = settings.METRICS_HOST, settings.KEEPER_METRICS_PORT
    if not port:
        return
    ProcessCollector(registry=REGISTRY)
    try:
        start_http_server(port, host, REGISTRY)
    except OSError as error:
        raise CommandError(
            f"The keeper cannot listen on METRICS_HOST {host}, KEEPER_METRICS_PORT {port}"
            f" ({error.strerror}). Choose another port, or 0 for none."
        ) from error
