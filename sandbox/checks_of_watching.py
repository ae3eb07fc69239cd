"""Settings of health and metrics that cannot work are refused at start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

# A run takes a second or two, and there are to be two in the time.
LEAST_RUN_SECONDS = 15


@register()
def check_watching(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    seconds = settings.HEALTH_RUN_SECONDS
    if seconds != 0 and not LEAST_RUN_SECONDS <= seconds < float("inf"):
        found.append(
            Error(
                f"HEALTH_RUN_SECONDS must be 0 or at least {LEAST_RUN_SECONDS}.",
                hint=f"It is {seconds}. 0 has the keeper make no runs of its own.",
                id="sandbox.E020",
            )
        )
    ports = {name: getattr(settings, name) for name in ("METRICS_PORT", "KEEPER_METRICS_PORT")}
    for name, port in ports.items():
        if not 0 <= port < 2**16:
            found.append(
                Error(
                    f"{name} is not a port.",
                    hint=f"It is {port}. 0 is for none.",
                    id="sandbox.E021",
                )
            )
    ports["PORT"] = int(os.environ.get("PORT", "8000"))
    used = [port for port in ports.values() if port]
    if len(set(used)) < len(used):
        found.append(
            Error(
                "PORT, METRICS_PORT and KEEPER_METRICS_PORT must differ, whatever the addresses.",
                hint=f"They are {ports}. What arrives at the port of the metrics gets them.",
                id="sandbox.E022",
            )
        )
    return found
