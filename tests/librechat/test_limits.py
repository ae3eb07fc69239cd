"""What LibreChat makes of a server at its limits: a small one, so that they are reached quickly."""

import os
import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import empty_database
from tests.containers import docker_engine
from tests.librechat.client import LibreChat
from tests.librechat.conversation import Conversation
from tests.librechat.process import CallFailed
from tests.librechat.refs import Scope, StoredFile
from tests.librechat.releases import NEWEST, V0_8_5, V0_8_7, Release
from tests.service import Service

SMALL = {
    "SANDBOX_MAX_CONTAINERS": "1",
    "SANDBOX_POOL_SIZE": "0",
    "SANDBOX_QUEUE_SECONDS": "1",
    "SANDBOX_RUN_SECONDS": "4",
    "SANDBOX_OUTPUT_BYTES": str(64 * 1024),
    "SANDBOX_UPLOAD_MB": "1",
}
SKILL = Scope(kind="skill", id="65f0c0ffee00000000005713", version=1)
TOO_LARGE = bytes(1_048_577)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    docker_engine()
    with (
        empty_database(f"interpreter_small_{os.getpid()}") as url,
        Service(
            directory=tmp_path_factory.mktemp("small"), database_url=url, settings=SMALL
        ) as service,
    ):
        yield service


@pytest.fixture(scope="module", params=[V0_8_5, V0_8_7, NEWEST], ids=str)
def librechat(request: pytest.FixtureRequest, small: Service) -> Iterator[LibreChat]:
    with _librechat(request.param, small) as client:
        yield client


def _librechat(release: Release, small: Service) -> LibreChat:
    key = small.key if release.sends_key else ""
    return LibreChat(release, release.base_url(small.url, small.key), key)


@pytest.mark.parametrize("unknown_length", [False, True], ids=["length", "chunked"])
def test_a_file_over_the_limit_is_refused(librechat: LibreChat, unknown_length: bool) -> None:
    with pytest.raises(CallFailed) as failure:
        librechat.upload("big.bin", TOO_LARGE, unknown_length=unknown_length)
    assert failure.value.status == 413
    assert failure.value.body == {"error": "File size limit exceeded"}
    assert librechat.download(librechat.upload("most.bin", TOO_LARGE[1:]))[0] == TOO_LARGE[1:]


def test_a_batch_goes_on_without_its_file_over_the_limit(librechat: LibreChat) -> None:
    contents = {"skills/a/1": b"1", "skills/a/big": TOO_LARGE, "skills/a/2": b"2"}
    answer = librechat.upload_batch(contents, SKILL)
    assert (answer["message"], answer["succeeded"], answer["failed"]) == ("partial_success", 2, 1)
    [refused] = [file for file in answer["files"] if file["status"] == "error"]
    assert refused["filename"] == "skills/a/big"
    assert refused["error"] == "File size limit exceeded"
    session_id = answer["storage_session_id"]
    kept = {
        file["filename"]: librechat.download(
            StoredFile(session_id, file["fileId"], file["filename"], SKILL)
        )[0]
        for file in answer["files"]
        if file["status"] == "success"
    }
    assert kept == {"skills/a/1": b"1", "skills/a/2": b"2"}


def test_a_batch_of_which_nothing_is_left_is_an_error(librechat: LibreChat) -> None:
    with pytest.raises(CallFailed) as failure:
        librechat.upload_batch({"skills/a/big": TOO_LARGE}, SKILL)
    assert failure.value.status == 400
    assert failure.value.body["message"] == "error"


def test_the_servers_own_time_limit_stops_a_program(librechat: LibreChat) -> None:
    conversation = Conversation(librechat)
    answer = conversation.run(
        "py", "open('a.txt', 'w').write('so far')\nimport time\ntime.sleep(60)"
    )
    assert "[sandbox] Time limit exceeded" in answer.text
    assert conversation.delivered(answer) == {"a.txt": b"so far"}


RATE_LIMITED = {
    V0_8_5: r"HTTP error! status: 429",
    V0_8_7: r'returned 429, body: \{"error": ?"rate_limited"',
    NEWEST: r"temporarily rate-limited\. Retry after [1-9]\d* seconds\.",
}


def test_a_run_for_which_there_is_no_room_is_told_when_to_come_back(
    librechat: LibreChat, small: Service
) -> None:
    with _librechat(librechat.release, small) as other, ThreadPoolExecutor(1) as pool:
        busy = Conversation(other)
        long_run = pool.submit(busy.run, "py", "import time; time.sleep(3); print('done')")
        # The long run may need a moment to get the only container.
        for _ in range(10):
            time.sleep(0.3)
            answer = Conversation(librechat).run("py", "print('early')")
            if answer.failed:
                break
        assert re.search(RATE_LIMITED[librechat.release], answer.text)
        assert long_run.result().text == "stdout:\ndone"
    assert Conversation(librechat).run("py", "print('room')").text == "stdout:\nroom"


def test_output_over_the_limit_is_cut_and_says_so(librechat: LibreChat) -> None:
    answer = librechat.run_bash("head -c 100000 /dev/zero | tr '\\0' x; echo end >&2")
    assert answer["stdout"] == "x" * 65536
    assert answer["status"] == "OL"
    assert answer["message"] == "stdout length exceeded"
    assert answer["stderr"] == "end\n\n[sandbox] stdout length exceeded\n"
    assert answer["code"] == 0


def test_the_newest_image_window_fits_into_64_kib_of_output(librechat: LibreChat) -> None:
    image = random.Random(2).randbytes(100_000)  # noqa: S311 - the same bytes in every run
    ref = librechat.ref(librechat.upload("chart.png", image))
    assert librechat.read_image("/mnt/data/chart.png", 48_960, ref) == (image, 3)
    with pytest.raises(CallFailed, match="was cut"):
        librechat.read_image("/mnt/data/chart.png", 60_000, ref)
