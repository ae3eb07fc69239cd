"""gunicorn's settings: HOST, PORT, WEB_WORKERS, WEB_THREADS, GRACEFUL_SECONDS, ACCESS_LOG,
LOG_FORMAT, LOG_LEVEL, METRICS_HOST, METRICS_PORT."""

import os
import re
import shutil
import tempfile

from gunicorn.arbiter import Arbiter
from gunicorn.http.message import Request
from gunicorn.workers.base import Worker

from interpreter_site import logs

# All interfaces: LibreChat usually calls from a container or another host. Every route but
# /health and the description of the API needs a key.
host = os.environ.get("HOST", "0.0.0.0")  # noqa: S104
bind = [f"{host}:{os.environ.get('PORT', '8000')}"]
wsgi_app = "interpreter_site.wsgi:application"

# A run holds a thread until it has ended, and so does a waiting one; files must be served beside
# them within LibreChat's five seconds. Each thread may use one database connection: no more than
# DATABASE_POOL_SIZE. Measured on 2 cores with 48 threads in 1, 2, 3 or 4 processes: short runs of 8
# clients, about 100 a second with each, so more processes than cores only take memory.
workers = int(os.environ.get("WEB_WORKERS", "2"))
# Beside them, connections whose request has not arrived yet or whose client does not hang up. All
# must fit into the 1024 descriptors that a process often may have.
worker_connections = 512
threads = int(os.environ.get("WEB_THREADS", "24"))
worker_class = "interpreter_site.worker.PatientWorker"
# No kept connections: LibreChat up to 0.8.3 leaves a timer on them that ends its next run.
keepalive = 0
# Database pools and engine connections must not be shared across a fork.
preload_app = False
# For running programs when the server is told to stop.
graceful_timeout = int(os.environ.get("GRACEFUL_SECONDS", "30"))
# Of the worker's event loop, not of a request.
timeout = 60
# Python's sendfile() knows no timeout: a client that does not read its download would hold its
# thread for ever.
sendfile = False

limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190
control_socket_disable = True

# Off unless asked for; paths come without keys, and queries not at all.
accesslog = "-" if os.environ.get("ACCESS_LOG") in ("1", "true", "True") else None
access_log_format = '%(h)s "%(m)s %({PATH_INFO}e)s" %(s)s %(b)s %(M)sms'

# Not logconfig_dict, with which gunicorn writes an access log whatever else is said.
logger_class = logs.gunicorn_log(
    os.environ.get("LOG_FORMAT", ""), os.environ.get("LOG_LEVEL", "INFO")
)

# The metrics are on a socket of their own, see wsgi.py. Each worker counts in a file here, and
# whichever is asked adds them up. A new directory for each start, as counters begin at 0 then; the
# same when the configuration is read again.
METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
OURS = "interpreter-metrics-"
if os.environ.get("METRICS_PORT", "0") != "0":
    bind.append(f"{os.environ.get('METRICS_HOST', '127.0.0.1')}:{os.environ['METRICS_PORT']}")
    if OURS not in os.environ.get(METRICS_DIRECTORY, ""):
        os.environ[METRICS_DIRECTORY] = tempfile.mkdtemp(prefix=OURS)


def on_exit(server: Arbiter) -> None:
    """In the process that has made it, and when all workers have ended."""
    directory = os.environ.get(METRICS_DIRECTORY, "")
    if OURS in directory:
        shutil.rmtree(directory, ignore_errors=True)


URL_SECRET = re.compile("/k/[^/?#]+")


def post_worker_init(worker: Worker) -> None:
    """From here on the keeper can see when this process dies, if it runs our application."""
    from django.apps import apps

    from audit.presence import announce

    if apps.ready:
        announce()


def pre_request(worker: Worker, req: Request) -> None:
    """gunicorn logs the address of a request that it fails to serve."""
    req.uri = URL_SECRET.sub("/k/***", req.uri or "")
