"""Filters that cannot be read are refused in the API, on the lists and for bulk jobs.

Source: docs/reference/api.md#scope, docs/reference/screens.md#run-list
"""

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import get_resolver, reverse

from tests.support.api import Api, error_of
from tests.support.bulk_jobs import make_runs, preview_job
from tests.support.events import receive
from tests.support.factories import make_actor, make_run, make_token
from tests.support.members import member_of
from workflows.admin.run_filters import RunListForm
from workflows.api.filters import RunFilter
from workflows.api.query import CheckedView
from workflows.errors import InputInvalid
from workflows.models import BulkJob, Run
from workflows.services.bulk.preview import bulk_preview
from workflows.services.bulk.selection import WORDS
from workflows.statuses import CommandAction

pytestmark = pytest.mark.usefixtures("no_dispatcher")

RUNS = "admin:workflows_run_changelist"


def test_each_field_of_the_filter_form_has_a_label(tenant: Any) -> None:
    page = member_of(tenant).get(reverse(RUNS)).content.decode()
    form = page.partition("data-drop-empty>")[2].partition("</form>")[0]
    labels = set(re.findall(r'<label class="f"\s+for="([^"]+)"', form))
    fields = re.findall(r'<(?:input|select)(?! type="hidden")[^>]+>', form)
    assert len(fields) > 15
    for field in fields:
        assert "aria-label=" in field or labels & set(re.findall('id="([^"]+)"', field)), field
    assert labels <= set(re.findall('id="([^"]+)"', form)), "a label names no field"


@pytest.fixture
def api(tenant: Any) -> Api:
    return Api(make_token(tenant))


# -- API ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/runs?statu=FAILED", "statu"), ("/runs?status=FAILD", "status"), ("/runs?status=%00", "status"),
        ("/runs?definition=%00", "definition"), ("/runs?definition=", "definition"), ("/runs?status=", "status"),
        ("/runs?definition=a&definition=b", "definition"), ("/runs?created_after=yesterday", "created_after"),
        ("/runs?created_after=0001-01-01T00:00:00%2B14:00", "created_after"),
        ("/runs?created_before=2026-13-01", "created_before"), ("/runs?version=1.5", "version"),
        ("/runs?version=1e999999", "version"), ("/runs?version=99999999999", "version"),
        ("/runs?parent_run=x", "parent_run"), ("/runs?page_size=many", "page_size"), ("/runs?page_size=0", "page_size"),
        ("/runs?status__gt=A", "status__gt"), ("/runs?page=2", "page"), ("/events?outcom=dead", "outcom"),
        ("/events?received_after=soon", "received_after"), ("/deliveries?state=dead", "state"),
        ("/commands?actor=%00", "actor"), ("/tasks?due_before=x", "due_before"), ("/definitions?key=x", "key"),
        ("/event-types?name=x", "name"), ("/secrets?name=x", "name"), ("/bulk?action=explode", "action"),
        ("/schemas?q=1", "q"),
    ],
)  # fmt: skip
def test_parameter_that_cannot_be_read_is_refused(api: Api, tenant: Any, path: str, parameter: str) -> None:
    make_run(tenant)
    error = error_of(api.get(path), 400)
    assert (error["code"], list(error["details"]["fields"])) == ("VALIDATION_ERROR", [parameter])


def test_parameters_of_single_rows_and_of_writes_are_checked_too(api: Api, tenant: Any) -> None:
    run = make_run(tenant)
    for path in (f"/runs/{run.id}?fields=id", f"/runs/{run.id}/steps?status=x", f"/runs/{run.id}/verify?now=1"):
        error_of(api.get(path), 400)
    error_of(api.post("/runs?dry_run=true", {"definition": run.definition_key}), 400)
    error_of(api.post("/events?dry_run=true", {"event_type": "E", "payload": {}}), 400)
    assert Run.objects.filter(tenant=tenant).count() == 1


def test_error_names_the_nearest_parameter(api: Api) -> None:
    error = error_of(api.get("/runs?correlationkey=K"), 400)
    assert error["details"]["fields"]["correlationkey"] == [
        "This parameter does not exist. Did you mean correlation_key?"
    ]


def test_every_view_of_the_api_checks_its_parameters() -> None:
    def views(patterns: Any) -> Any:
        for pattern in patterns:
            yield from views(pattern.url_patterns) if hasattr(pattern, "url_patterns") else [pattern]

    api_root = next(one for one in get_resolver().url_patterns if str(one.pattern) == "api/v1/")
    unchecked = {pattern.name for pattern in views([api_root]) if not issubclass(pattern.callback.cls, CheckedView)}
    assert unchecked == {"schema", "docs"}  # pages of drf-spectacular, without rows


# -- Lists -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "status__exact=%00", "status__exact=FAILD", "status__gt=A", "status__foo=1", "statu=FAILED", "q=%00",
        "created_at_from_0=yesterday", "created_at_from_0=2026-01-01&created_at_from_1=noon",
        "created_at_from_1=10:00", "created_at_to_0=2026-02-30", "definition=%00",
        "trigger_type__exact=x", "trigger_type__isnull=1", "e=1", "created_at_from=2026-01-01",
        "o=error", "o=1", "cols=input", "version=2", "definition=a&version=0", "definition=a&version=1.5", "age=1y",
        "started=now", "replays=all", "key=%00", "failed_step=%00", "status__exact=caught",
    ],
)  # fmt: skip
def test_list_with_a_filter_that_cannot_be_read_shows_no_row(tenant: Any, query: str) -> None:
    run = make_run(tenant)
    response = member_of(tenant).get(f"{reverse(RUNS)}?{query}")
    shown = response.content.decode()
    assert (response.status_code, "a filter cannot be read" in shown, str(run.id) in shown) == (400, True, False)


def test_error_is_shown_beside_the_field(tenant: Any) -> None:
    shown = member_of(tenant).get(f"{reverse(RUNS)}?created_at_from_0=yesterday&created_at_from_1=10:00")
    field = shown.content.decode().partition('name="created_at_from_0"')[2].partition('name="created_at_to_0"')[0]
    assert "Enter a valid date." in field


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("", True), ("status__exact=&definition=&created_at_from_0=&created_at_from_1=&q=", True),
        ("status__exact=WAITING&_facets=True", True), ("status__exact=FAILED", False),
        ("o=-started&p=1", True), ("p=300", True), ("p=x", True), ("at=x", True), ("o=key&cols=state&cols=took", True),
        ("created_at_from_0=2020-01-01", True), ("created_at_to_0=2020-01-01", False), ("definition=none", False),
        ("created_at_from_0=2020-01-01&created_at_from_1=10:00", True),
    ],
)  # fmt: skip
def test_filters_that_can_be_read(tenant: Any, query: str, is_found: bool) -> None:
    run = make_run(tenant)
    response = member_of(tenant).get(f"{reverse(RUNS)}?{query}")
    assert (response.status_code, str(run.id) in response.content.decode()) == (200, is_found)


def test_date_without_a_time_includes_the_whole_day(tenant: Any) -> None:
    run = make_run(tenant)
    day = run.created_at.date().isoformat()
    query = f"{reverse(RUNS)}?created_at_from_0={day}&created_at_to_0={day}"
    assert str(run.id) in member_of(tenant).get(query).content.decode()


@pytest.mark.parametrize("name", ["run", "event", "eventdelivery"])
def test_times_of_filters_are_in_the_zone_that_their_fields_name(tenant: Any, name: str) -> None:
    client = member_of(tenant)
    client.cookies["pointsman_zone"] = "Asia/Tokyo"
    page = client.get(reverse(f"admin:workflows_{name}_changelist")).content.decode()
    assert len(re.findall(r"<(label|span)[^>]*>[^<]*\(JST\)\s*</\1>", page)) == 2
    assert "(UTC)" not in page


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("event", "outcome__exact=lost"), ("event", "received_at_from_0=x"), ("event", "event_type=%00"),
        ("eventdelivery", "status=none"), ("eventdelivery", "created_at_to_0=x"), ("command", "state__exact=%00"),
        ("command", "source__exact=x"), ("humantask", "show=x"), ("bulkjob", "state__exact=x"),
        ("definition", "q=%00"), ("eventtype", "name=x"), ("notification", "severity=x"),
    ],
)  # fmt: skip
def test_every_list_refuses_filters_that_cannot_be_read(tenant: Any, name: str, query: str) -> None:
    receive(tenant)
    response = member_of(tenant).get(f"{reverse(f'admin:workflows_{name}_changelist')}?{query}")
    assert (response.status_code, "a filter cannot be read" in response.content.decode()) == (400, True)


def test_results_of_a_bulk_job_with_an_unknown_state(tenant: Any) -> None:
    make_run(tenant)
    job = preview_job(tenant)
    client = member_of(tenant)
    url = reverse("admin:workflows_bulkjob_change", args=[job.id])
    client.post(reverse("admin:workflows_bulkjob_start", args=[job.id]))
    for query in ("outcome=faild", "outcome=%00", "after=x", f"after={'9' * 30}"):
        response = client.get(f"{url}?{query}")
        assert (response.status_code, "The runs cannot be shown" in response.content.decode()) == (400, True)


# -- Bulk jobs ---------------------------------------------------------------------------------------------------------


def choose_all(client: Any, run: Any, query: str = "", **more: str) -> Any:
    data = {"action": "cancel_runs", "_selected_action": [str(run.id)], "index": "0", "select_across": "1", **more}
    return client.post(f"{reverse(RUNS)}{query}", data)


@pytest.mark.parametrize("query", ["?created_at_from_0=yesterday", "?statu=FAILED", "?q=%00", "?status__exact=FAILD"])
def test_action_on_a_filter_that_cannot_be_read_creates_no_job(tenant: Any, query: str) -> None:
    (run, *_) = make_runs(tenant, 3)
    response = choose_all(member_of(tenant), run, query)
    assert (response.status_code, "a filter cannot be read" in response.content.decode()) == (400, True)
    assert not BulkJob.objects.filter(tenant=tenant).exists()


def test_list_without_a_filter_and_above_100_runs_needs_the_checkbox(tenant: Any) -> None:
    (run, *_) = make_runs(tenant, 101)
    client = member_of(tenant)
    asked = choose_all(client, run)
    assert "contains 101 runs" in asked.content.decode()
    assert 'name="all_runs"' in asked.content.decode()
    again = choose_all(client, run, is_confirmation="1")
    assert "This field is required." in again.content.decode()
    assert not BulkJob.objects.filter(tenant=tenant).exists()
    chosen = choose_all(client, run, is_confirmation="1", all_runs="on")
    shown = client.get(chosen.url).content.decode()
    assert "Cancel 101 runs?" in shown
    assert "all runs of the tenant" in shown


def test_list_without_a_filter_and_up_to_100_runs_needs_no_checkbox(tenant: Any) -> None:
    (run, *_) = make_runs(tenant, 100)
    assert "bulkjob" in choose_all(member_of(tenant), run).url


def test_preview_states_the_filter_in_words(tenant: Any) -> None:
    run = make_run(tenant)
    client = member_of(tenant)
    query = f"?status__exact=WAITING&definition={run.definition_key}&created_at_from_0=2020-01-01&q={run.id}&o=key"
    shown = client.get(choose_all(client, run, query).url).content.decode()
    words = f"status is waiting, and definition is {run.definition_key}, and created at or after 2020-01-01"
    assert f"{words}, and the search finds {run.id}" in shown


def test_api_states_the_filter_in_words_and_asks_for_all_runs(api: Api, tenant: Any) -> None:
    make_runs(tenant, 2)
    body = {"action": "cancel", "filters": {"status": ["WAITING", "RUNNING"]}}
    assert api.post("/bulk", body).json()["selection_text"] == "status is waiting or running"
    for empty in (
        {"filters": {}},
        {"filters": {"definition": ["a", "b"]}},
        {"filters": {"status": "WAITING"}, "all_runs": True},
    ):
        error_of(api.post("/bulk", {"action": "cancel", **empty}), 400)
    job = api.post("/bulk", {"action": "cancel", "all_runs": True}).json()
    assert (job["total"], job["selection_text"]) == (2, "all runs of the tenant")


def test_service_refuses_all_runs_above_100_without_a_choice(tenant: Any) -> None:
    make_runs(tenant, 101)
    runs = Run.objects.filter(tenant=tenant)
    request: dict[str, Any] = {"actor": make_actor(tenant), "action": CommandAction.CANCEL, "runs": runs}
    with pytest.raises(InputInvalid) as refused:
        bulk_preview(**request, selection={"filters": {}})
    assert (refused.value.code, refused.value.details["runs"]) == ("BULK_ALL_RUNS", 101)
    assert not BulkJob.objects.filter(tenant=tenant).exists()
    assert bulk_preview(**request, selection={"filters": {}}, all_runs=True).total == 101
    assert bulk_preview(**request, selection={"filters": {"status": "WAITING"}}).total == 101


def test_command_needs_a_filter_or_the_option_for_all_runs(tenant: Any) -> None:
    make_run(tenant)
    with pytest.raises(CommandError, match="all_runs"):
        call_command("bulk_runs", "cancel", tenant=tenant.slug, stdout=StringIO())
    shown = StringIO()
    call_command("bulk_runs", "cancel", "--all-runs", tenant=tenant.slug, stdout=shown)
    assert "selection: all runs of the tenant" in shown.getvalue()


def test_every_filter_has_words() -> None:
    names = {name.removesuffix("__exact") for name in RunListForm.base_fields}
    assert set(RunFilter.base_filters) | names <= set(WORDS)
