from __future__ import annotations

from drf_spectacular.openapi import AutoSchema

# Known to drf-spectacular from when they are imported.
from sandbox.api.openapi import credentials, program, views

__all__ = ["Schema", "credentials", "program", "views"]


class Schema(AutoSchema):
    """Settings name it, so that a server which describes nothing imports none of this."""
