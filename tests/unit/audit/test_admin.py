from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape

import pytest
from django.db import connection
from django.db.models import Func, Model, TextField
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from audit.admin import counting
from audit.admin.execution_page import timeline
from audit.admin.searching import TOO_LONG
from audit.models import Execution, SandboxContainer, SandboxFile, SandboxSession
from tests.unit.audit.conftest import Make

pytestmark = pytest.mark.django_db
SPAN = r'<span class="[a-z0-9]+">'
RECORDS: list[type[Model]] = [Execution, SandboxContainer, SandboxFile, SandboxSession]
HOSTILE = "<script>alert(1)</script>\"'}}{{<img src=x onerror=alert(2)>"


def listing(model: type[Model]) -> str:
    return reverse(f"admin:audit_{model._meta.model_name}_changelist")


def page(row: Model, which: str = "change") -> str:
    return reverse(f"admin:audit_{row._meta.model_name}_{which}", args=(quoted(row.pk),))


def quoted(pk: str) -> str:
    """As the admin writes ids into addresses."""
    return pk.replace("_", "_5F")


@pytest.mark.parametrize("model", RECORDS)
def test_lists_and_pages_answer(admin_client: Client, make_run: Make, model: type[Model]) -> None:
    make_run()
    assert admin_client.get(listing(model)).status_code == 200
    for row in model._default_manager.all():
        assert admin_client.get(page(row)).status_code == 200


@pytest.mark.parametrize("model", RECORDS)
def test_lists_answer_without_rows(admin_client: Client, model: type[Model]) -> None:
    assert admin_client.get(listing(model)).status_code == 200
    assert admin_client.get(listing(model), {"q": "x", "p": "7"}).status_code == 200


def test_ids_with_underscores_are_found(admin_client: Client, make_run: Make) -> None:
    run = make_run(id="_5F_aaaa-bbbb_cccc_5F")
    text = admin_client.get(page(run)).content.decode()
    assert run.pk in text
    assert "chart.png" in text
    session = admin_client.get(page(run.session)).content.decode()
    assert f'href="{page(run)}"' in session


@pytest.mark.parametrize("model", RECORDS)
def test_records_are_read_only(admin_client: Client, make_run: Make, model: type[Model]) -> None:
    make_run()
    row = model._default_manager.latest("created_at")
    before = model._default_manager.values().get(pk=row.pk)
    assert admin_client.post(page(row), {"status": "failed", "name": "x"}).status_code == 403
    assert admin_client.post(page(row, "delete"), {"post": "yes"}).status_code == 403
    assert admin_client.get(f"{listing(model)}add/").status_code == 403
    admin_client.post(
        listing(model), {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
    )
    assert model._default_manager.values().get(pk=row.pk) == before


@pytest.mark.parametrize("model", RECORDS)
def test_hostile_text_is_inert(admin_client: Client, make_run: Make, model: type[Model]) -> None:
    make_run(text=HOSTILE[:100], name=HOSTILE)
    places = [listing(model), *(page(row) for row in model._default_manager.all())]
    for place in places:
        text = admin_client.get(place).content.decode()
        assert "<script>alert" not in text
        assert "<img src=x" not in text


def test_hostile_code_is_shown_as_it_was_written(admin_client: Client, make_run: Make) -> None:
    run = make_run(code="<script>alert(1)</script>\n\x1b[31m", stdout="<b>bold</b>")
    text = admin_client.get(page(run)).content.decode()
    code = re.search(r'<pre class="run-code"[^>]*>(.*?)</pre>', text, re.DOTALL)
    assert code
    # In colours: an element around each token, and nothing of the code's own.
    assert set(re.findall(r"<[^>]*>", code[1])) <= {"</span>", *re.findall(SPAN, code[1])}
    assert unescape(re.sub(SPAN, "", code[1]).replace("</span>", "")) == (
        "<script>alert(1)</script>\n␛[31m"
    )
    assert "&lt;b&gt;bold&lt;/b&gt;</pre>" in text


def test_an_execution_tells_what_happened(admin_client: Client, make_run: Make) -> None:
    run = make_run(
        status=Execution.Status.TIMED_OUT,
        exit_code=137,
        wall_ms=30_012,
        cpu_ms=12,
        memory_bytes=64 * 2**20,
        message="Timed out after 30 s",
        client_address="172.18.0.5",
        user_id="ann",
    )
    text = admin_client.get(page(run)).content.decode()
    for fact in (
        "Timed Out",
        "30.0 s",
        "12 ms",
        "64.0\xa0MB",
        "Timed out after 30 s",
        "172.18.0.5",
        "user ann",
        "SIGKILL",
        "137",
        '<th scope="row">claim</th>',
        "<td>1.2 s</td>",
        "line two",
    ):
        assert fact in text
    for row in (run.session, run.container, *run.files.all(), run.session.inputs.get().file):
        assert row is not None
        assert f'href="{page(row)}"' in text
    assert f'href="{reverse("admin:keys_apikey_change", args=(run.key_id,))}"' in text


def test_a_running_execution_without_a_container_has_a_page(
    admin_client: Client, make_run: Make
) -> None:
    run = make_run(status=Execution.Status.RUNNING, container=None, step_ms={}, args=[], signal="")
    assert admin_client.get(page(run)).status_code == 200


def test_executions_are_listed_by_where_their_container_came_from(
    admin_client: Client, make_run: Make
) -> None:
    make_run(container_source=Execution.Source.POOL)
    recycled = make_run(container_source=Execution.Source.RECYCLED)
    assert found(admin_client, container_source__exact="recycled") == [recycled.pk]
    text = admin_client.get(page(recycled)).content.decode()
    assert "another session&#x27;s of the same user, emptied" in text


SEARCHES = {
    "in the code": ({"code": "import needle\n"}, "needle"),
    "in any case": ({"code": "import Needle\n"}, "nEEdle"),
    "in stdout": ({"stdout": "a needle"}, "needle"),
    "in stderr": ({"stderr": "NeedleError"}, "needle"),
    "by user": ({"user_id": "needle-7"}, "needle"),
    "by a file it wrote": ({"name": "out/needle.csv"}, "needle"),
    "by a file it was given": ({"name": "needle.csv"}, "given-needle"),
    "by a phrase": ({"code": "x = needle + 1"}, "needle + 1"),
    "with a percent sign": ({"code": "'100% needle'"}, "100% n"),
}


@pytest.mark.parametrize(("fields", "words"), SEARCHES.values(), ids=SEARCHES.keys())
def test_executions_are_found(
    admin_client: Client, make_run: Make, fields: dict[str, str], words: str
) -> None:
    make_run()
    wanted = make_run(**fields)
    assert found(admin_client, q=words) == [wanted.pk]


def test_executions_are_found_by_each_id(admin_client: Client, make_run: Make) -> None:
    make_run()
    run = make_run()
    for pk in (run.pk, run.session_id, run.container_id or "", run.files.get().pk):
        assert found(admin_client, q=pk) == [run.pk]


def test_a_word_of_21_letters_is_still_a_word(admin_client: Client, make_run: Make) -> None:
    run = make_run(code="def abcdefghijklmnopqrstu(): pass")
    assert found(admin_client, q="abcdefghijklmnopqrstu") == [run.pk]


def test_an_execution_with_many_hits_is_listed_once(admin_client: Client, make_run: Make) -> None:
    run = make_run(name="needle-1", code="needle", stdout="needle")
    for number in range(3):
        SandboxFile.objects.create(
            session=run.session, execution=run, name=f"needle{number}", size=1
        )
    assert found(admin_client, q="needle") == [run.pk]


def test_what_is_nowhere_is_not_found(admin_client: Client, make_run: Make) -> None:
    make_run()
    assert found(admin_client, q="needle") == []
    assert found(admin_client, q="nee\0dle") is not None


def test_executions_are_filtered(admin_client: Client, make_run: Make) -> None:
    failed = make_run(status=Execution.Status.FAILED, language="bash")
    good = make_run(created_at=datetime(2020, 5, 1, 23, 59, tzinfo=UTC))
    assert found(admin_client, status__exact="failed") == [failed.pk]
    assert found(admin_client, language="bash") == [failed.pk]
    assert found(admin_client, key__id__exact=str(good.key_id)) == [failed.pk, good.pk]
    on_the_day = {"created_at_from": "2020-05-01", "created_at_to": "2020-05-01"}
    assert found(admin_client, **on_the_day) == [good.pk]
    assert found(admin_client, created_at_to="2020-05-02") == [good.pk]
    assert found(admin_client, created_at_to="2020-04-30") == []
    assert found(admin_client, created_at_from="2020-05-02") == [failed.pk]
    assert len(found(admin_client, created_at_from="never", created_at_to="9999-12-31")) == 2


def test_executions_are_filtered_by_how_long_they_took(
    admin_client: Client, make_run: Make
) -> None:
    runs = {ms: make_run(wall_ms=ms).pk for ms in (0, 99, 100, 999, 9_999, 10_000, 60_000)}
    make_run(wall_ms=None)
    assert set(found(admin_client, duration="100ms")) == {runs[0], runs[99]}
    assert set(found(admin_client, duration="1s")) == {runs[100], runs[999]}
    assert found(admin_client, duration="10s") == [runs[9_999]]
    assert found(admin_client, duration="60s") == [runs[10_000]]
    assert found(admin_client, duration="longer") == [runs[60_000]]
    assert len(found(admin_client, duration="nonsense")) == 8


def test_long_runs_are_looked_up_in_an_index() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    slow = Execution.objects.filter(wall_ms__gte=60_000).order_by()
    assert "execution_slow" in slow.explain()


def test_a_list_says_how_much_there_is(
    admin_client: Client, make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(language="js")
    text = admin_client.get(listing(Execution)).content.decode()
    assert "1 execution" in text
    for _ in range(3):
        make_run()
    assert "4 executions" in admin_client.get(listing(Execution)).content.decode()
    monkeypatch.setattr(counting, "MOST", 2)
    assert "More than 2 executions" in admin_client.get(listing(Execution)).content.decode()
    text = admin_client.get(listing(Execution), {"language": "js"}).content.decode()
    assert "1 execution" in text


def test_a_list_that_takes_long_to_count_is_not_counted(make_run: Make) -> None:
    make_run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "MILLISECONDS", 1)
        slept = Func(template="pg_sleep(60)::text", output_field=TextField())
        slow = Execution.objects.annotate(slept=slept).filter(slept="")
        assert counting.about(slow) is None
    # Neither the transaction nor a later question suffers.
    assert counting.about(Execution.objects.all()) == 1
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


def test_a_search_that_takes_too_long_is_given_up(admin_client: Client, slow_search: None) -> None:
    response = admin_client.get(listing(Execution), {"q": "needle", "language": "py"})
    text = response.content.decode()
    assert response.status_code == 200
    assert text.count(TOO_LONG) == 1
    assert "Not searched to the end" in text
    assert 'value="needle"' in text
    # Neither the transaction nor a later question suffers.
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)
    text = admin_client.get(listing(Execution)).content.decode()
    assert "1 execution" in text
    assert TOO_LONG not in text


def test_a_page_shows_the_other_runs_of_session_and_user(
    admin_client: Client, make_run: Make
) -> None:
    run, stranger = make_run(user_id="ann"), make_run(user_id="bob")
    of_user = make_run(user_id="ann")
    of_session = Execution.objects.create(
        key=run.key, session=run.session, user_id="ann", language="js"
    )
    text = admin_client.get(page(run)).content.decode()
    session, _, user = text.partition("Other runs of this user")
    assert f'href="{page(of_session)}"' in session
    assert f'href="{page(of_user)}"' in user
    assert f'href="{page(stranger)}"' not in text


def test_steps_follow_each_other(make_run: Make) -> None:
    run = make_run(step_ms={"run": 60, "total": 100, "auth": 20, "new_one": 20})
    bars = [(step.name, step.begins, step.width) for step in timeline(run)]
    assert bars == [("auth", 0, 200), ("run", 200, 600), ("new one", 800, 200)]


def test_output_that_was_cut_says_so(admin_client: Client, make_run: Make) -> None:
    run = make_run(stdout="a\nb\n", stdout_bytes=5000, stderr="")
    text = admin_client.get(page(run)).content.decode()
    assert "2 lines, 4\xa0bytes of 4.9\xa0KB" in text


def test_the_limits_that_a_run_hit_are_shown_and_found(
    admin_client: Client, make_run: Make
) -> None:
    make_run()
    run = make_run(limits_hit=["memory", "tmp_inodes"])
    later = make_run(limits_hit=["memory", "<b>of a later version"])
    assert found(admin_client, limit="memory") == [later.pk, run.pk]
    assert found(admin_client, limit="tmp_inodes") == [run.pk]
    assert found(admin_client, limit="wall_time") == []
    text = admin_client.get(page(run)).content.decode()
    assert "at its limit of memory, files in /tmp" in text
    assert "limits that it hit" in text.lower()
    text = admin_client.get(page(later)).content.decode()
    assert "memory, &lt;b&gt;of a later version" in text


def test_runs_by_limit_are_looked_up_in_an_index() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        runs = Execution.objects.filter(limits_hit__contains=["memory"]).order_by()
        assert "execution_limits_hit" in runs.explain()


def test_a_container_says_what_it_was_made_with(admin_client: Client, make_run: Make) -> None:
    run = make_run()
    SandboxContainer.objects.update(limits="cpus=0.5 memory_mb=256")
    assert run.container
    assert "cpus=0.5 memory_mb=256" in admin_client.get(page(run.container)).content.decode()


def found(client: Client, **query: str) -> list[str]:
    text = client.get(listing(Execution), query).content.decode()
    ids = re.findall(r'href="/admin/audit/execution/([^/"]+)/change/', text)
    return [pk.replace("_5F", "_") for pk in dict.fromkeys(ids)]


@pytest.mark.parametrize("model", RECORDS)
def test_a_longer_list_asks_no_more_questions(
    admin_client: Client, make_run: Make, model: type[Model]
) -> None:
    make_run()
    admin_client.get(listing(model))
    with CaptureQueriesContext(connection) as few:
        admin_client.get(listing(model))
    for _ in range(20):
        make_run()
    with CaptureQueriesContext(connection) as many:
        admin_client.get(listing(model))
    assert len(many) == len(few)


@pytest.mark.parametrize("model", RECORDS)
def test_a_list_counts_nothing_and_fetches_no_large_text(
    admin_client: Client, make_run: Make, model: type[Model]
) -> None:
    make_run()
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(listing(model))
    sql = [query["sql"] for query in queries]
    # No further than to a number that is quick to count to.
    counts = [text for text in sql if text.startswith("SELECT COUNT(*)")]
    assert [text for text in counts if "LIMIT 10001" not in text or "LEFT(" in text] == []
    assert not [text for text in sql if re.search(r'"audit_execution"\."(stdout|stderr)"', text)]


def test_a_session_with_many_rows_has_a_page_of_few_questions(
    admin_client: Client, make_run: Make, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    run = make_run()
    for number in range(40):
        Execution.objects.create(
            key=run.key, session=run.session, language="py", code="x", stdout="y" * 100
        )
        SandboxFile.objects.create(session=run.session, name=f"{number}.txt", size=number)
    with django_assert_max_num_queries(30):
        assert admin_client.get(page(run.session)).status_code == 200


def test_the_start_page_leads_to_every_table(admin_client: Client) -> None:
    text = admin_client.get("/admin/").content.decode()
    for model in RECORDS:
        assert f'href="{listing(model)}"' in text
    assert 'href="/admin/keys/apikey/"' in text
