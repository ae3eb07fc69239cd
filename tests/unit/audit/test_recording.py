"""What an execution's row has of its run's texts, beside what LibreChat is answered."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from audit import recording
from audit.models import Execution
from keys.models import APIKey, Issuer
from sandbox.services import Caller
from tests.fakes.engine import FakeEngine
from tests.unit.audit.conftest import Make
from tests.unit.sandbox.helpers import run

KEY = "AKIA" + "IOSFODNN7EXAMPLE"
Record = Execution.Record


def row() -> Execution:
    return Execution.objects.get()


def test_a_secret_is_answered_but_not_stored(alice: Caller, fake: FakeEngine) -> None:
    code = f"import sys; print('{KEY}', sys.argv[1]); sys.stderr.write('{KEY}')"
    ran = run(alice, code, args=(KEY,))
    assert (ran.verdict.stdout, ran.verdict.stderr) == (f"{KEY} {KEY}\n", KEY)
    gone = "[redacted: AWS key]"
    assert (row().stdout, row().stderr) == (f"{gone} {gone}\n", gone)
    assert row().code == code.replace(KEY, gone)
    assert row().args == [gone]


def test_a_secret_that_the_output_limit_cuts_is_not_stored(
    alice: Caller, fake: FakeEngine, settings: Settings
) -> None:
    settings.SANDBOX_OUTPUT_BYTES = 1024
    ran = run(alice, f"import sys\nfor s in sys.stdout, sys.stderr: s.write(' ' * 1010 + '{KEY}')")
    assert ran.verdict.stdout.endswith(KEY[:14])
    assert "AKIA" not in row().stdout + row().stderr
    assert "[redacted: cut off here]\n[sandbox] stderr truncated" in row().stderr


@pytest.mark.parametrize("by", ["server", "key"])
@pytest.mark.parametrize("what", ["code", "output"])
def test_what_is_not_to_be_stored_is_not(
    alice: Caller, fake: FakeEngine, settings: Settings, by: str, what: str
) -> None:
    if by == "server":
        setattr(settings, f"AUDIT_STORE_{what.upper()}", False)
    else:
        setattr(alice.key, f"store_{what}", False)
    ran = run(alice, "print('said')", args=("given",))
    assert ran.verdict.stdout == "said\n"
    stored = {
        "code": (row().code, row().args, row().code_record),
        "output": (row().stdout, row().output_record),
    }
    expected = {
        "code": ("print('said')", ["given"], Record.STORED),
        "output": ("said\n", Record.STORED),
    }
    nothing: dict[str, tuple[object, ...]] = {
        "code": ("", [], Record.NOT_STORED),
        "output": ("", Record.NOT_STORED),
    }
    assert stored == expected | {what: nothing[what]}
    # What is known without the text.
    assert row().stdout_bytes == 5


def test_our_own_words_are_stored_without_the_programs(
    alice: Caller, fake: FakeEngine, settings: Settings
) -> None:
    settings.AUDIT_STORE_OUTPUT = False
    settings.SANDBOX_OUTPUT_BYTES = 1024
    run(alice, "import sys; sys.stderr.write('x' * 2000)")
    assert row().stderr == "\n[sandbox] stderr truncated at 1024 bytes\n"


@pytest.mark.parametrize(
    ("server", "key", "stored"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_a_key_can_only_be_stricter(
    settings: Settings, server: bool, key: bool, stored: bool
) -> None:
    settings.AUDIT_STORE_CODE = settings.AUDIT_STORE_OUTPUT = server
    owner = APIKey(store_code=key, store_output=key)
    assert recording.stores_code(owner) is stored
    assert recording.stores_output(owner) is stored


def test_for_a_tenant_its_issuer_decides() -> None:
    issuer = Issuer(store_code=False, store_output=True)
    tenant = APIKey(issuer=issuer, store_code=True, store_output=False)
    assert not recording.stores_code(tenant)
    assert recording.stores_output(tenant)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (Record.NOT_STORED, "Not stored, as the server or the key wants it."),
        (Record.PRUNED, "Removed, as it was older than such texts are kept."),
    ],
)
def test_the_admin_tells_what_is_not_there_from_nothing(
    make_run: Make, admin_client: Client, record: Record, words: str
) -> None:
    def page(**fields: object) -> str:
        made = make_run(code="", stdout="", stderr="", **fields)
        url = reverse("admin:audit_execution_change", args=(made.pk,))
        return admin_client.get(url).content.decode()

    nothing = page()
    assert words not in nothing
    assert "<p>None.</p>" in nothing
    missing = page(code_record=record, output_record=record)
    assert missing.count(words) == 2
    assert "<p>None.</p>" not in missing
    listed = admin_client.get(reverse("admin:audit_execution_changelist")).content.decode()
    assert words.partition(",")[0].lower() in listed


def change(client: Client, key: APIKey, *, without: Iterable[str]) -> None:
    data = {"name": key.name, "scopes": ["exec", "files"], "store_code": "on", "store_output": "on"}
    url = reverse("admin:keys_apikey_change", args=(key.pk,))
    answer = client.post(url, {name: data[name] for name in data.keys() - set(without)})
    assert answer.status_code == 302, answer.context["errors"]


def test_the_admin_decides_for_a_key(admin_client: Client, alice: Caller) -> None:
    change(admin_client, alice.key, without=["store_output"])
    alice.key.refresh_from_db()
    assert (alice.key.store_code, alice.key.store_output) == (True, False)
    change(admin_client, alice.key, without=[])
    alice.key.refresh_from_db()
    assert (alice.key.store_code, alice.key.store_output) == (True, True)
