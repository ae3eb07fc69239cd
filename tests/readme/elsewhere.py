"""The commands of the documents that the walk leaves out: why, and which test has them instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Elsewhere:
    reason: str
    # A test's file and, after ::, its name; empty where nothing of ours can run the command.
    test: str = ""


COMPOSE = "tests/compose/test_compose.py::"
USED = COMPOSE + "test_a_program_runs_through_the_published_port"
BACKUP = COMPOSE + "test_a_backup_brings_everything_back"
BENCH = "tests/integration/test_bench.py::"
IN_COMPOSE = "Compose builds its images from Debian's packages, and stands beside script/server."
ITSELF = "The walk is a part of it."
MINUTES = "It measures for many minutes, which a test does in little."
GVISOR = "It needs gVisor in this machine's engine, which is not ours to configure."
UNDER_GVISOR = "tests/integration/gvisor/"
ATTACKS = "Half a minute and more of attacks, all of which have a test; the walk makes one of them."

ELSEWHERE = {
    "script/test": Elsewhere(ITSELF),
    "script/test tests/unit -k name": Elsewhere(ITSELF),
    "docker compose up --build --detach": Elsewhere(IN_COMPOSE, USED),
    "docker compose up": Elsewhere(IN_COMPOSE, USED),
    "docker compose exec api python manage.py createapikey LibreChat": Elsewhere(IN_COMPOSE, USED),
    "docker compose exec api python manage.py": Elsewhere("What follows it is named above.", USED),
    "docker compose exec api python manage.py createsuperuser": Elsewhere(
        "It asks for a password on a terminal. script/server's first start calls it without one.",
        "tests/integration/test_server.py::test_the_first_start_shows_what_the_next_ones_keep",
    ),
    "docker compose down": Elsewhere(
        IN_COMPOSE,
        COMPOSE + "test_taken_down_it_leaves_no_container_and_comes_back_with_everything",
    ),
    "docker compose build sandbox-image": Elsewhere(
        "It builds in minutes what script/bootstrap has built for all tests, from the same file."
    ),
    "deploy/backup /srv/backups/today": Elsewhere(IN_COMPOSE, BACKUP),
    "deploy/restore /srv/backups/today --yes": Elsewhere(IN_COMPOSE, BACKUP),
    "script/image science packages.txt": Elsewhere(
        "Under that name somebody may have one.",
        "tests/readme/test_further_image.py::test_a_key_s_programs_have_the_packages_of_its_image",
    ),
    "script/attack --only privilege": Elsewhere(ATTACKS, "tests/attacks/test_attacks.py"),
    "script/attack --only tenants": Elsewhere(ATTACKS, "tests/attacks/test_attacks.py"),
    "script/bench --rounds 50 --seconds 60": Elsewhere(
        MINUTES, BENCH + "test_it_compares_a_service_of_its_own_with_docker_exec"
    ),
    "script/bench --only libraries": Elsewhere(
        MINUTES, BENCH + "test_it_compares_a_service_of_its_own_with_docker_exec"
    ),
    "script/bench --admin": Elsewhere(
        MINUTES, BENCH + "test_it_measures_the_admin_over_executions_of_its_own"
    ),
    "script/bench --no-docker": Elsewhere(
        MINUTES, BENCH + "test_it_measures_another_server_by_its_address"
    ),
    "script/soak --minutes 30": Elsewhere(
        MINUTES,
        "tests/integration/test_soak.py"
        "::test_a_minute_of_everything_leaves_nothing_and_breaks_nothing",
    ),
    "SANDBOX_RUNTIME=runsc SANDBOX_MEMORY_MB=1024 script/test tests/contract": Elsewhere(
        GVISOR, UNDER_GVISOR + "test_sandbox.py"
    ),
    "SANDBOX_RUNTIME=runsc SANDBOX_MEMORY_MB=1024 script/attack": Elsewhere(
        GVISOR, UNDER_GVISOR + "test_attacks.py"
    ),
    'script/attack --gvisor --base-url https://code.example.com --api-key "$KEY"': Elsewhere(
        GVISOR, "tests/attacks/test_programs.py"
    ),
    "systemctl reload docker": Elsewhere(GVISOR, UNDER_GVISOR + "test_service.py"),
    "aws s3 sync var/files s3://bucket/prefix": Elsewhere(
        "It is Amazon's program. That keys are paths is tested.",
        "tests/unit/sandbox/test_bucket.py",
    ),
}
