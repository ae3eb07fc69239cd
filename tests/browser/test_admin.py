from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from audit.models import Execution, SandboxFile, SandboxSession
from keys.models import APIKey, Issuer
from keys.tokens import TokenRefused
from tests.tokens import ALICE, Signer

pytestmark = pytest.mark.django_db(transaction=True)

HOSTILE = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"


def test_a_key_is_issued_seen_once_and_revoked(admin: Page) -> None:
    admin.context.grant_permissions(["clipboard-read", "clipboard-write"])
    admin.get_by_role("link", name="API keys").first.click()
    admin.locator("a[href$='/apikey/add/']").first.click()
    admin.locator("[name=name]").fill("LibreChat")
    admin.get_by_role("button", name="Save").click()

    secret = admin.locator("#secret").inner_text()
    key = APIKey.objects.get()
    assert APIKey.authenticate(secret) == key
    admin.locator("[data-copy=secret]").click()
    expect(admin.locator("[data-copy=secret]")).to_have_text("Copied")
    assert admin.evaluate("navigator.clipboard.readText()") == secret

    admin.reload()
    expect(admin.get_by_text(f"lci_{key.prefix}…")).to_be_visible()
    assert secret not in admin.content()
    assert APIKey.objects.count() == 1

    admin.get_by_role("link", name="Rotate").click()
    admin.locator("[name=grace_hours]").fill("1")
    admin.get_by_role("button", name="Rotate").click()
    another = admin.locator("#secret").inner_text()
    assert another != secret
    assert APIKey.authenticate(another) == APIKey.authenticate(secret) == key
    admin.reload()
    assert another not in admin.content()

    admin.get_by_role("link", name="Revoke").click()
    admin.get_by_role("button", name="Revoke").click()
    expect(admin.get_by_text("LibreChat is revoked.")).to_be_visible()
    assert APIKey.authenticate(secret) is APIKey.authenticate(another) is None


def test_an_issuer_is_made_and_turned_off(admin: Page) -> None:
    signer = Signer()
    admin.get_by_role("link", name="Token issuers").first.click()
    admin.locator("a[href$='/issuer/add/']").first.click()
    admin.locator("[name=name]").fill("Chat")
    admin.locator("[name=public_keys]").fill("nonsense")
    admin.get_by_role("button", name="Save and continue editing").click()
    expect(admin.get_by_text("No public key")).to_be_visible()
    admin.locator("[name=public_keys]").fill(signer.pem)
    admin.get_by_role("button", name="Save and continue editing").click()
    expect(admin.get_by_text("was added successfully")).to_be_visible()
    assert Issuer.authenticate(signer.mint())[1] == ALICE
    admin.locator("[name=enabled]").uncheck()
    admin.get_by_role("button", name="Save and continue editing").click()
    expect(admin.get_by_text("was changed successfully")).to_be_visible()
    with pytest.raises(TokenRefused, match="turned off"):
        Issuer.authenticate(signer.mint())


def test_a_key_is_given_less_memory_and_never_more(admin: Page, live_server: LiveServer) -> None:
    key, _ = APIKey.issue(name="Guest")
    admin.goto(f"{live_server.url}/admin/keys/apikey/{key.pk}/change/")
    expect(admin.get_by_text("The server's: 512. Memory and swap together")).to_be_visible()
    admin.locator("[name=memory_mb]").fill("513")
    admin.get_by_role("button", name="Save and continue editing").click()
    expect(admin.get_by_text("a key may only have less")).to_be_visible()
    admin.locator("[name=memory_mb]").fill("256")
    admin.get_by_role("button", name="Save and continue editing").click()
    expect(admin.get_by_text("was changed successfully")).to_be_visible()
    expect(admin.locator("[name=memory_mb]")).to_have_value("256")
    key.refresh_from_db()
    assert (key.memory_mb, key.pids) == (256, None)


def test_an_execution_is_found_and_read(admin: Page) -> None:
    run = hostile_run()
    admin.get_by_role("link", name="Executions").first.click()
    admin.locator("input[name=q]").fill("needle")
    admin.locator("input[name=q]").press("Enter")
    expect(admin).to_have_url(re.compile("q=needle"))
    admin.locator("#result_list tbody a").first.click()

    expect(admin.locator(".run pre").first).to_have_text(run.code)
    expect(admin.get_by_text("Timed Out").first).to_be_visible()
    expect(admin.get_by_role("link", name=HOSTILE)).to_be_visible()
    admin.get_by_role("link", name=HOSTILE).click()
    expect(admin.get_by_text("text/csv")).to_be_visible()
    assert admin.title() != "owned"


def test_no_page_lets_a_script_in(admin: Page) -> None:
    run = hostile_run()
    for place in (
        "audit/execution/",
        f"audit/execution/{run.pk}/change/",
        f"audit/sandboxsession/{run.session_id}/change/",
        "audit/sandboxfile/",
        f"audit/sandboxfile/{run.files.get().pk}/change/",
    ):
        admin.goto(admin.url.partition("/admin/")[0] + "/admin/" + place.replace("_", "_5F"))
        assert admin.title() != "owned"
        assert admin.locator("img[src=x]").count() == 0


def test_the_page_policy_stops_a_script_that_got_in(admin: Page, complaints: list[str]) -> None:
    """The second line of defence, tried by putting one in."""
    admin.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'owned'";
            document.head.append(script);
        }"""
    )
    assert admin.title() != "owned"
    assert "Content Security Policy" in complaints.pop()


def hostile_run() -> Execution:
    key, _ = APIKey.issue(name="LibreChat")
    session = SandboxSession.objects.create(
        key=key, origin="run", user_id=HOSTILE, expires_at=timezone.now() + timedelta(hours=1)
    )
    run = Execution.objects.create(
        key=key,
        session=session,
        language="py",
        code=f"needle = 1\nprint('''{HOSTILE}''')",
        stdout=HOSTILE,
        stderr=HOSTILE,
        status=Execution.Status.TIMED_OUT,
        wall_ms=30_000,
    )
    SandboxFile.objects.create(
        session=session,
        execution=run,
        name=HOSTILE,
        size=5,
        sha256="ab" * 32,
        content_type="text/csv",
    )
    return run
