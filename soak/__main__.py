from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from bench import engine
from bench.__main__ import shown, terminated
from bench.machine import this_machine
from bench.progress import Progress
from bench.records import NotReady
from bench.service import ServiceFailed
from soak.arguments import Options, parse
from soak.soaking import RESULTS, Soaking

BROKEN_OFF = "BROKEN OFF: what follows was not looked at"


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    signal.signal(signal.SIGTERM, terminated)
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / "progress.log").open("w") as log:
        return soak(options, Progress(sys.stderr, log))


def soak(options: Options, progress: Progress) -> int:
    soaking = Soaking(options, progress)
    broken: list[str] = []
    try:
        soaking.run()
    except (ServiceFailed, NotReady, *engine.FAILURES) as error:
        broken = [BROKEN_OFF, str(error)]
    except KeyboardInterrupt:
        broken = [BROKEN_OFF, "interrupted"]
    findings = broken + soaking.findings()
    path = options.json or RESULTS / f"{datetime.now(UTC):%Y-%m-%d-%H%M%S}.json"
    path.write_text(json.dumps(report(options, soaking, findings), indent=1) + "\n")
    progress.say(f"All samples: {shown(path)}")
    for finding in findings:
        progress.say(f"FAILED: {finding}")
    if not findings:
        progress.say("Nothing grows, nothing is left over, every answer was right.")
    return 1 if findings else 0


def report(options: Options, soaking: Soaking, findings: list[str]) -> dict[str, Any]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "minutes": options.minutes,
        "clients": options.clients,
        "machine": asdict(this_machine("a private service" if not options.base_url else "another")),
        "findings": findings,
        "samples": [sample.as_json() for sample in soaking.samples],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
