import time
from dataclasses import dataclass, field


def _milliseconds(since: float, until: float) -> float:
    return round((until - since) * 1000, 2)


@dataclass(slots=True)
class StepClock:
    """How long each step of a request took, in milliseconds, from when it arrived."""

    steps: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.perf_counter)
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self._began

    def lap(self, step: str) -> None:
        """A step that comes again, as after a container was found dead, goes on."""
        now = time.perf_counter()
        self.steps[step] = round(self.steps.get(step, 0) + _milliseconds(self._last, now), 2)
        self._last = now

    def total(self) -> dict[str, float]:
        """All so far, with their sum."""
        return self.steps | {"total": _milliseconds(self._began, time.perf_counter())}
