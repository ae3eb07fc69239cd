"""All settings, read top to bottom; each comes from the environment variable of the same name.

A variable may also be given as NAME_FILE, the path of a file that holds the value.
"""

import logging
from pathlib import Path
from typing import Any

import django_stubs_ext
from django.urls import reverse_lazy
from environ import FileAwareEnv

from interpreter_site import logs
from keys.public_keys import DEFAULT_KID

django_stubs_ext.monkeypatch()


class Env(FileAwareEnv):
    """A secret's file ends in a newline that is not part of the secret."""

    def get_value(self, *args: Any, **kwargs: Any) -> Any:
        value = super().get_value(*args, **kwargs)
        return value.rstrip("\n") if isinstance(value, str) else value


env = Env()
BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = env.str("SECRET_KEY")
DEBUG = env.bool("DEBUG", default=False)
# LibreChat calls by whatever name its operator gave this host, and no page builds links from it.
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["*"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# Set when a proxy in front serves HTTPS: cookies then travel over HTTPS only.
HTTPS = env.bool("HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# No script of the admin reads the token, which is in each form as well.
CSRF_COOKIE_HTTPONLY = True
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=0)
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SILENCED_SYSTEM_CHECKS = [
    # The API never redirects, a redirected upload loses its body; the proxy can do it for browsers.
    "security.W008",
    # HSTS binds a whole host name for months: the operator's decision, see HSTS_SECONDS.
    "security.W004",
]

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "keys",
    "audit",
    "sandbox",
]
MIDDLEWARE = [
    "sandbox.api.observing.ObserveCalls",
    "sandbox.api.middleware.SafeHeaders",
    "sandbox.api.middleware.NormalisePath",
    "sandbox.api.middleware.SmallForms",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "keys.admin.policy.ContentSecurityPolicy",
    "keys.login.RememberBrowser",
]
ROOT_URLCONF = "interpreter_site.urls"
WSGI_APPLICATION = "interpreter_site.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": env.db("DATABASE_URL")}
DATABASES["default"] |= {
    # It checks each of the pool's connections before use: a restarted database heals at once.
    "ENGINE": "interpreter_site.database",
    # Beside what the URL's query says, such as sslmode or the directory of a socket.
    "OPTIONS": DATABASES["default"].get("OPTIONS", {})
    | {
        "pool": {
            "min_size": 1,
            "max_size": env.int("DATABASE_POOL_SIZE", default=24),
            # Seconds until a request is told that the database is away.
            "timeout": 5,
            # After so long without success, the next request tries at once; the pool by itself
            # would wait longer and longer.
            "reconnect_timeout": 5,
        },
        "connect_timeout": 5,
        # See `prepared_cursor`: for the second time that a connection is asked.
        "prepare_threshold": 1 if env.bool("DATABASE_PREPARE", default=True) else None,
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["keys.authentication.APIKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "sandbox.api.errors.handle",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_SCHEMA_CLASS": "sandbox.api.openapi.schema.Schema",
}
# Whether anybody may read, at /docs and /openapi.json, how the API is called. It is of every
# installation alike.
API_DOCS = env.bool("API_DOCS", default=True)
SPECTACULAR_SETTINGS = {
    "TITLE": "Code interpreter",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "SCHEMA_PATH_PREFIX": "",
    "SORT_OPERATIONS": False,
    "SORT_OPERATION_PARAMETERS": False,
    "POSTPROCESSING_HOOKS": ["sandbox.api.openapi.document.complete"],
}

LANGUAGE_CODE = "en-us"
# Of all times in the admin; days begin in it.
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_TZ = True
# Times with seconds, as one reads a log.
FORMAT_MODULE_PATH = ["interpreter_site.formats"]

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "var" / "static"
# Static files are for our own pages.
WHITENOISE_ALLOW_ALL_ORIGINS = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}

# --- what is told of the service ---

# "json" or "console"; empty: text for a terminal, JSON for all else.
LOGGING = logs.configuration(
    env.str("LOG_FORMAT", default=""), env.str("LOG_LEVEL", default="INFO")
)
logging.captureWarnings(True)
# Where the API and the keeper show their numbers to Prometheus; 0 is nowhere. Each has a port of
# its own: the public one never shows them.
METRICS_HOST = env.str("METRICS_HOST", default="127.0.0.1")
METRICS_PORT = env.int("METRICS_PORT", default=0)
KEEPER_METRICS_PORT = env.int("KEEPER_METRICS_PORT", default=0)
# How old the keeper's last run of its own may be for /health/ready; it makes one each half of that.
# 0 is none.
HEALTH_RUN_SECONDS = env.float("HEALTH_RUN_SECONDS", default=120)

# --- keys: who may call ---

# Callers in these networks need no key, for example ["172.18.0.0/16"]. LibreChat 0.8.6 and later
# sends none by itself. Everybody in such a network shares one key and can run code.
KEYS_TRUSTED_NETWORKS = env.list("KEYS_TRUSTED_NETWORKS", default=[])
# So many wrong keys from one address, or for one prefix, within a window of time are answered with
# 401; further ones with 429. A right key is let in all the same.
KEYS_WRONG_LIMIT = env.int("KEYS_WRONG_LIMIT", default=20)
KEYS_WRONG_SECONDS = env.float("KEYS_WRONG_SECONDS", default=60)

# --- keys: quotas, of each key and of each user of a key; 0 is none ---

# None by default: how much is fair depends on the machine and on how many people share one key,
# which for most installations of LibreChat is all of them. No quota protects the machine, limits
# and SANDBOX_MAX_CONTAINERS do. Counted by the clock, in UTC.
KEYS_RUNS_PER_MINUTE = env.int("KEYS_RUNS_PER_MINUTE", default=0)
KEYS_RUNS_PER_HOUR = env.int("KEYS_RUNS_PER_HOUR", default=0)
KEYS_RUNS_PER_DAY = env.int("KEYS_RUNS_PER_DAY", default=0)
KEYS_CPU_SECONDS_PER_DAY = env.int("KEYS_CPU_SECONDS_PER_DAY", default=0)
KEYS_CONCURRENT_RUNS = env.int("KEYS_CONCURRENT_RUNS", default=0)
KEYS_STORED_MB = env.int("KEYS_STORED_MB", default=0)
# Of a LibreChat user, where the call tells who that is; counted within the key.
KEYS_USER_RUNS_PER_MINUTE = env.int("KEYS_USER_RUNS_PER_MINUTE", default=0)
KEYS_USER_RUNS_PER_HOUR = env.int("KEYS_USER_RUNS_PER_HOUR", default=0)
KEYS_USER_RUNS_PER_DAY = env.int("KEYS_USER_RUNS_PER_DAY", default=0)
KEYS_USER_CPU_SECONDS_PER_DAY = env.int("KEYS_USER_CPU_SECONDS_PER_DAY", default=0)
KEYS_USER_CONCURRENT_RUNS = env.int("KEYS_USER_CONCURRENT_RUNS", default=0)
KEYS_USER_STORED_MB = env.int("KEYS_USER_STORED_MB", default=0)

# --- keys: LibreChat's signed tokens, in the words of its official server ---

# What LibreChat signs with, seen from outside: PEM (with \n for the ends of lines, if need be) of
# the key named CODEAPI_JWT_KID, a JWKS, or a directory with files named <kid>.pem.
CODEAPI_JWT_PUBLIC_KEY = env.str("CODEAPI_JWT_PUBLIC_KEY", default="")
CODEAPI_JWT_KID = env.str("CODEAPI_JWT_KID", default=DEFAULT_KID)
CODEAPI_JWT_JWKS_JSON = env.str("CODEAPI_JWT_JWKS_JSON", default="")
CODEAPI_JWT_PUBLIC_KEYS_DIR = env.str("CODEAPI_JWT_PUBLIC_KEYS_DIR", default="")
CODEAPI_JWT_ISSUER = env.str("CODEAPI_JWT_ISSUER", default="librechat")
CODEAPI_JWT_AUDIENCE = env.str("CODEAPI_JWT_AUDIENCE", default="codeapi")
# These three count for the issuers in the admin as well.
CODEAPI_JWT_ALLOWED_ALGS = env.list("CODEAPI_JWT_ALLOWED_ALGS", default=["EdDSA", "RS256"])
# How far two clocks may be apart.
CODEAPI_JWT_CLOCK_SKEW_SECONDS = env.float("CODEAPI_JWT_CLOCK_SKEW_SECONDS", default=30)
# A token that lives longer is refused, as it could be used for longer by who steals it.
CODEAPI_JWT_MAX_TTL_SECONDS = env.float("CODEAPI_JWT_MAX_TTL_SECONDS", default=300)

# --- audit: what is kept of a run ---

# Whether an execution's row has code and arguments, and output. A key may want less, never more.
AUDIT_STORE_CODE = env.bool("AUDIT_STORE_CODE", default=True)
AUDIT_STORE_OUTPUT = env.bool("AUDIT_STORE_OUTPUT", default=True)
# Whether secrets of well-known forms are taken out of that, see audit/redaction.py; and others, as
# JSON: {"name": "expression in RE2's syntax"}.
AUDIT_REDACT = env.bool("AUDIT_REDACT", default=True)
AUDIT_REDACT_PATTERNS = env.str("AUDIT_REDACT_PATTERNS", default="")
# Days; 0 is for ever. Code, arguments and output, which are most of the bytes and of what people
# wrote; whole executions; the rows of sessions that have ended, with their files and containers.
AUDIT_KEEP_TEXTS_DAYS = env.float("AUDIT_KEEP_TEXTS_DAYS", default=90)
AUDIT_KEEP_EXECUTIONS_DAYS = env.float("AUDIT_KEEP_EXECUTIONS_DAYS", default=400)
AUDIT_KEEP_SESSIONS_DAYS = env.float("AUDIT_KEEP_SESSIONS_DAYS", default=400)
# With it, only who has it can make the chain's hashes, or guess at a text by its digest.
AUDIT_CHAIN_KEY = env.str("AUDIT_CHAIN_KEY", default="")

# --- sandbox: the container ---

# What starts containers: a class that keeps sandbox.engines.base.Engine.
SANDBOX_ENGINE = env.str("SANDBOX_ENGINE", default="sandbox.engines.docker.DockerEngine")
# Separates several installations on one engine: each sees and reaps its own containers only.
SANDBOX_INSTALLATION = env.str("SANDBOX_INSTALLATION", default="default")
SANDBOX_IMAGE = env.str("SANDBOX_IMAGE", default="custom-rce-kernel:latest")
# Further ones by name, such as science=custom-rce-science:latest. A key may have one of them;
# without its own it has SANDBOX_IMAGE, whose name is "default".
SANDBOX_IMAGES = env.dict("SANDBOX_IMAGES", default={})
# The engine's OCI runtime; empty is its default, "runsc" is gVisor.
SANDBOX_RUNTIME = env.str("SANDBOX_RUNTIME", default="")
# A file in the format of Docker's seccomp profiles; empty is sandbox/seccomp.json. There is no
# value for none at all.
SANDBOX_SECCOMP = env.str("SANDBOX_SECCOMP", default="")
SANDBOX_CPUS = env.float("SANDBOX_CPUS", default=0.5)
# While it starts, if that is more: nobody's program is in it yet.
SANDBOX_WARMING_CPUS = env.float("SANDBOX_WARMING_CPUS", default=2.0)
# Memory and swap together; the files in the workspace, /tmp and /dev/shm count as well.
SANDBOX_MEMORY_MB = env.int("SANDBOX_MEMORY_MB", default=512)
SANDBOX_PIDS = env.int("SANDBOX_PIDS", default=128)
SANDBOX_WORKSPACE_MB = env.int("SANDBOX_WORKSPACE_MB", default=256)
SANDBOX_TMP_MB = env.int("SANDBOX_TMP_MB", default=64)
SANDBOX_SHM_MB = env.int("SANDBOX_SHM_MB", default=64)
SANDBOX_INODES = env.int("SANDBOX_INODES", default=20_000)

# --- sandbox: one run ---

SANDBOX_RUN_SECONDS = env.float("SANDBOX_RUN_SECONDS", default=30)
# A request's own `timeout` may go up to this.
SANDBOX_MAX_RUN_SECONDS = env.float("SANDBOX_MAX_RUN_SECONDS", default=300)
# Of each process; a run never gets more than its own seconds by the clock and one.
SANDBOX_CPU_SECONDS = env.int("SANDBOX_CPU_SECONDS", default=301)
# The largest file that a program can write. Out of the workspace's reach: what fills that is to
# get the error for it, not a signal.
SANDBOX_WRITE_MB = env.int("SANDBOX_WRITE_MB", default=SANDBOX_WORKSPACE_MB + 1)
# Of each process.
SANDBOX_OPEN_FILES = env.int("SANDBOX_OPEN_FILES", default=1024)
# Each of stdout and stderr; what is over it is cut.
SANDBOX_OUTPUT_BYTES = env.int("SANDBOX_OUTPUT_BYTES", default=1024 * 1024)
# How many new files an answer lists; LibreChat downloads every one of them.
SANDBOX_MAX_OUTPUT_FILES = env.int("SANDBOX_MAX_OUTPUT_FILES", default=50)
SANDBOX_MAX_INPUT_FILES = env.int("SANDBOX_MAX_INPUT_FILES", default=256)

# --- sandbox: files that are kept ---

SANDBOX_STORE_DIR = env.path("SANDBOX_STORE_DIR", default=str(BASE_DIR / "var" / "files"))
# A bucket instead of that directory, in which bytes then lie only until all of them have come.
SANDBOX_S3_BUCKET = env.str("SANDBOX_S3_BUCKET", default="")
# Before each key, for a bucket that has other things in it as well.
SANDBOX_S3_PREFIX = env.str("SANDBOX_S3_PREFIX", default="")
# Of a server that is not Amazon's.
SANDBOX_S3_ENDPOINT = env.str("SANDBOX_S3_ENDPOINT", default="")
SANDBOX_S3_REGION = env.str("SANDBOX_S3_REGION", default="")
SANDBOX_S3_ACCESS_KEY_ID = env.str("SANDBOX_S3_ACCESS_KEY_ID", default="")
SANDBOX_S3_SECRET_ACCESS_KEY = env.str("SANDBOX_S3_SECRET_ACCESS_KEY", default="")
SANDBOX_UPLOAD_MB = env.int("SANDBOX_UPLOAD_MB", default=150)
# A JSON body; LibreChat's write_file sends up to 10 MB twice encoded as base64.
SANDBOX_BODY_MB = env.int("SANDBOX_BODY_MB", default=50)
SANDBOX_FILE_MB = env.int("SANDBOX_FILE_MB", default=100)
# All files of a session together.
SANDBOX_FILES_MB = env.int("SANDBOX_FILES_MB", default=SANDBOX_WORKSPACE_MB)
SANDBOX_MAX_SESSION_FILES = env.int("SANDBOX_MAX_SESSION_FILES", default=1000)
SANDBOX_MAX_DEPTH = env.int("SANDBOX_MAX_DEPTH", default=10)
SANDBOX_MAX_PATH = env.int("SANDBOX_MAX_PATH", default=256)
# Since the session's last use. LibreChat trusts a file for 23 hours.
SANDBOX_SESSION_HOURS = env.float("SANDBOX_SESSION_HOURS", default=48)

# --- sandbox: the pool ---

SANDBOX_POOL_SIZE = env.int("SANDBOX_POOL_SIZE", default=2)
# The same of the further images, such as science=1; of those that are not named none wait.
SANDBOX_IMAGE_POOL_SIZES = env.dict("SANDBOX_IMAGE_POOL_SIZES", cast={"value": int}, default={})
# How many of all these are started at a time.
SANDBOX_POOL_STARTS = env.int("SANDBOX_POOL_STARTS", default=2)
# Whether an idle container is emptied for another session of the same key and user.
SANDBOX_RECYCLE = env.bool("SANDBOX_RECYCLE", default=True)
SANDBOX_MAX_CONTAINERS = env.int("SANDBOX_MAX_CONTAINERS", default=16)
# A container whose session has been quiet for so long is removed; its files are in the store.
SANDBOX_IDLE_SECONDS = env.float("SANDBOX_IDLE_SECONDS", default=600)
# How long a run waits for its session's turn or for a container.
SANDBOX_QUEUE_SECONDS = env.float("SANDBOX_QUEUE_SECONDS", default=60)

# --- the admin's look ---


def admin_link(title: str, icon: str, model: str) -> dict[str, Any]:
    """For those whose role lets them see what is there."""
    app, _, name = model.partition("_")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{model}_changelist"),
        "permission": lambda request: request.user.has_perm(f"{app}.view_{name}"),
    }


UNFOLD = {
    "SITE_TITLE": "Code interpreter",
    "SITE_HEADER": "Code interpreter",
    "SITE_SYMBOL": "terminal",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": f"{STATIC_URL}audit/icon.svg",
        }
    ],
    "STYLES": [lambda request: f"{STATIC_URL}audit/text.css"],
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_HISTORY": "keys.admin.theme.may_read_log",
    "LOGIN": {"form": "keys.login.LoginForm"},
    "DASHBOARD_CALLBACK": "audit.admin.dashboard.dashboard",
    "SIDEBAR": {
        "navigation": [
            {
                "items": [
                    {
                        "title": "Dashboard",
                        "icon": "monitoring",
                        "link": reverse_lazy("admin:index"),
                    },
                    {
                        "title": "Live",
                        "icon": "sensors",
                        "link": reverse_lazy("live"),
                        "permission": "sandbox.admin.access.may_watch",
                    },
                    {
                        "title": "Playground",
                        "icon": "science",
                        "link": reverse_lazy("playground"),
                        "permission": "sandbox.admin.access.may_play",
                    },
                ],
            },
            {
                "title": "Audit log",
                "items": [
                    admin_link("Executions", "play_circle", "audit_execution"),
                    admin_link("Sessions", "workspaces", "audit_sandboxsession"),
                    admin_link("Files", "draft", "audit_sandboxfile"),
                    admin_link("Containers", "deployed_code", "audit_sandboxcontainer"),
                ],
            },
            {
                "title": "Access",
                "items": [
                    admin_link("API keys", "key", "keys_apikey"),
                    admin_link("Token issuers", "verified_user", "keys_issuer"),
                    admin_link("Users", "person", "auth_user"),
                    admin_link("Roles", "group", "auth_group"),
                    admin_link("Actions in the admin", "history", "admin_logentry"),
                ],
            },
        ],
    },
}
