"""The admin's pages, asked for as a browser would. Importing this needs Django to be set up."""

from __future__ import annotations

import warnings
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections
from django.test import Client
from psycopg.conninfo import make_conninfo

from audit.statistics.rolling import roll_up
from keys.models import APIKey


class Admin:
    def __init__(self) -> None:
        # Of static files, which nobody asks for here.
        warnings.filterwarnings("ignore", message="No directory at")
        call_command("migrate", interactive=False, verbosity=0)
        self._client = Client(raise_request_exception=False)
        self._client.force_login(User.objects.create_superuser("bench"))

    @property
    def conninfo(self) -> str:
        settings = connection.settings_dict
        return make_conninfo(host=settings["HOST"], user=settings["USER"], dbname=settings["NAME"])

    def count(self) -> None:
        while roll_up():
            pass

    def get(self, path: str) -> int:
        """The status of the answer."""
        if "{key}" in path:
            path = path.format(key=APIKey.objects.earliest("pk").pk)
        return self._client.get(path).status_code

    def close(self) -> None:
        connections.close_all()
        with_pool: Any = connection
        with_pool.close_pool()
