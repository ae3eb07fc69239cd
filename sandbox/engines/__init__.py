from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from sandbox.engines.base import Engine


def engine() -> Engine:
    """This process's engine."""
    return _engine(settings.SANDBOX_ENGINE)


@cache
def _engine(path: str) -> Engine:
    made: Engine = import_string(path)()
    return made
