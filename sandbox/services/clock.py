import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class StepClock:
    """How long each step of a request took, in milliseconds."""

    steps: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self.steps[step] = round((now - self._last) * 1000, 2)
        self._last = now
