"""Search of the command ledger (docs/reference/screens.md#command-ledger)."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone

from tests.support.api import Api
from tests.support.bulk_jobs import preview_job
from tests.support.factories import make_actor, make_run, make_tenant, make_token, publish
from tests.support.failed_runs import fail_run, grow_incidents
from tests.support.list_pages import links_in
from tests.support.members import member_of
from tests.support.plans import conditions_of, copies, plan_of
from tests.support.statements import sent_statements
from workflows.admin import ledger_list
from workflows.ledger import command_finish, command_open
from workflows.models import Command, Definition, Event, HolidayCalendar, HumanTask, Schedule
from workflows.models.fields import new_id
from workflows.selectors import ledger_search as search
from workflows.services.bulk.jobs import bulk_pause, bulk_resume, bulk_start, bulk_stop
from workflows.statuses import CommandAction, CommandState, Role

# Workers of another test would do the bulk jobs and decide the events of these tests.
pytestmark = pytest.mark.usefixtures("no_dispatcher")

PAGE = "/admin/workflows/command/"


def entry(
    tenant: Any, target: str, *, actor: str = "maya", action: CommandAction = CommandAction.PAUSE, why: str = ""
) -> Command:
    return command_open(
        actor=make_actor(tenant, name=actor), action=action, target_type="definition", target_id=target, reason=why
    )


def targets(tenant: Any, **filters: str) -> list[str]:
    shown = member_of(tenant, role="viewer").get(f"{PAGE}?{urlencode(filters)}")
    assert shown.status_code == 200
    return [row.command.target_id for row in shown.context_data["rows"]]


def test_each_filter_finds_exactly_its_rows(tenant: Any) -> None:
    entry(tenant, "a", actor="maya", why="A Holiday <b>")
    entry(tenant, "b", actor="jonas", action=CommandAction.UNPAUSE)
    entry(make_tenant(), "foreign", why="holiday")
    assert targets(tenant) == ["b", "a"]
    for filters, found in (
        ({"actor": "maya"}, ["a"]),
        ({"action": "unpause"}, ["b"]),
        ({"target": "a"}, ["a"]),
        ({"q": "a"}, ["a"]),
        ({"state": "requested"}, ["b", "a"]),
        ({"state__exact": "unknown"}, []),
        ({"first_day": f"{timezone.now() + timedelta(days=1):%Y-%m-%d}"}, []),
        ({"last_day": f"{timezone.now() + timedelta(days=1):%Y-%m-%d}"}, ["b", "a"]),
        ({"first_day": "0001-01-01", "last_day": "9999-12-31"}, ["b", "a"]),
        ({"text": "holiday"}, ["a"]),
        ({"text": "holiday", "actor": "jonas"}, []),
    ):
        assert targets(tenant, **filters) == found, filters
    content = member_of(tenant, role="viewer").get(f"{PAGE}?text=holiday").content.decode()
    assert ("A Holiday &lt;b&gt;" in content, "Export for auditors" in content) == (True, False)
    wrong = member_of(tenant).get(f"{PAGE}?first_day=soon&state=lost")
    assert (wrong.status_code, "Enter a valid date" in wrong.content.decode()) == (400, True)


def test_run_is_shown_and_found_by_its_key_and_parts_of_a_job_are_left_out(tenant: Any) -> None:
    run = make_run(tenant, correlation_key="PAY-1<b>")
    job = preview_job(tenant)
    actor = make_actor(tenant)
    whole = Command.objects.get(tenant=tenant, action="bulk")
    command_open(actor=actor, action=CommandAction.CANCEL, target_type="run", target_id=str(run.id), run=run)
    command_open(
        actor=actor, action=CommandAction.REPLAY, target_type="run", target_id=str(run.id), run=run, parent=whole
    )
    client = member_of(tenant, role="viewer")

    def shown(query: str = "") -> list[tuple[str, str, str, str]]:
        rows = client.get(f"{PAGE}{query}").context_data["rows"]
        return [(row.command.action, row.target.kind, row.target.name, row.target.note) for row in rows]

    short = str(run.id)[:18]
    cancel, replay = (
        ("cancel", run.definition.name, "PAY-1<b>", short),
        ("replay", run.definition.name, "PAY-1<b>", short),
    )
    runs = f"{job.action} {job.total} run{'s' if job.total > 1 else ''}".capitalize()
    assert shown()[:2] == [cancel, ("bulk", runs, "", str(job.id)[:18])]
    assert shown("?parts=shown")[:2] == [replay, cancel]
    assert shown("?q=PAY-1%3Cb%3E") == [replay, cancel]
    page = client.get(f"{PAGE}?q=PAY-1%3Cb%3E&state=requested&action=cancel").content.decode()
    assert "PAY-1&lt;b&gt;" in page
    assert reverse("admin:workflows_run_change", args=[run.id]) in page
    assert 'href="?target=PAY-1%3Cb%3E&amp;state=requested"' in page, "the chosen command can be removed alone"


def test_each_row_of_a_bulk_job_says_its_step(tenant: Any) -> None:
    make_run(tenant)
    job, actor = preview_job(tenant), make_actor(tenant)
    entry(tenant, "a")
    steps = [bulk_start, bulk_pause, bulk_resume, bulk_stop]
    for step in steps:
        step(actor=actor, job_id=job.id)
    rows = member_of(tenant, role="viewer").get(f"{PAGE}?target={job.id}").context_data["rows"]
    assert [row.name for row in reversed(rows)] == [
        "Preview bulk job", "Start bulk job", "Pause bulk job", "Resume bulk job", "Stop bulk job",
    ]  # fmt: skip
    whole = member_of(tenant, role="viewer").get(f"{PAGE}?action=pause").context_data["rows"]
    assert [row.name for row in whole] == ["Pause definition"]


def test_definition_is_shown_with_its_name_its_key_and_a_link(tenant: Any) -> None:
    """A deleted definition keeps its key in the ledger. The tenant can use the key again."""
    definition = publish(tenant, {"id": "s", "type": "state.set", "config": {"state": "DONE"}}).definition
    Definition.objects.filter(id=definition.id).update(name="Order flow")
    for key in (definition.key, "deleted-one"):
        entry(tenant, key)
    client = member_of(tenant, role="viewer")
    with sent_statements() as sent:
        rows = client.get(f"{PAGE}?action=pause").context_data["rows"]
    page = reverse("admin:workflows_definition_change", args=[definition.id])
    assert [(row.target.kind, row.target.name, row.target.note, row.target.url) for row in rows] == [
        ("Definition", "deleted-one", "", ""), ("Definition", "Order flow", definition.key, page),
    ]  # fmt: skip
    assert len(sent) <= 12, "\n".join(sent)


def test_person_has_the_same_name_in_the_ledger_and_on_pages(tenant: Any) -> None:
    client = member_of(tenant, role="operator")
    user = get_user_model().objects.get(pk=client.session["_auth_user_id"])
    user.first_name, user.last_name = "Nora", "Falk"
    user.save()
    values = {"step_path": "root.steps[0]", "task_type": "t", "title": "Review", "assigned_users": [user.username]}
    task = HumanTask.objects.create(tenant=tenant, run=make_run(tenant), **values)
    client.post(reverse("admin:workflows_humantask_claim", args=[task.id]), {"idempotency_key": str(new_id())})
    row = Command.objects.get(tenant=tenant, action="claim_task")
    assert (row.state, row.actor_name, row.actor_id) == ("observed", "Nora Falk", str(user.pk))
    for name in ("Nora Falk", user.username):
        assert targets(tenant, actor=name) == [str(task.id)], name
    inbox = member_of(tenant, role="operator").get(reverse("admin:workflows_humantask_changelist")).content.decode()
    assert "claimed by <bdi>Nora Falk</bdi>" in inbox
    assert "held by Nora Falk" in inbox
    assert user.username not in inbox
    assert "<b>Nora Falk</b>" in client.get(reverse("admin:index")).content.decode()


def test_pages_and_a_bounded_search_for_a_text_miss_no_row(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PART", 3)
    monkeypatch.setattr(search, "MOST_READ", 6)
    for number in range(14):
        entry(tenant, f"t{number}", why="found" if number % 7 == 0 else "other")
    client, address, seen, pages = member_of(tenant), f"{PAGE}?text=found", [], 0
    while address:
        page = client.get(address)
        context, following = page.context_data, links_in(page).get("Next", "")
        seen += [row.command.target_id for row in context["rows"]]
        pages += 1
        assert (context["found"].read_until is not None) == bool(following)
        address = f"{PAGE}{following}" if following else ""
    assert (seen, pages) == (["t7", "t0"], 3)
    monkeypatch.setattr(search, "MOST_SECONDS", 0.0)  # the time is over after the first part
    page = client.get(f"{PAGE}?text=found")
    assert (page.context_data["rows"], bool(page.context_data["found"].read_until)) == ([], True)
    assert list(links_in(page)) == ["Next"]


def test_search_for_a_text_that_takes_too_long_has_its_error_beside_the_field(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry(tenant, "a", why="found")
    monkeypatch.setattr(ledger_list, "LIST_SECONDS", 0.05)
    page_of = search.keyset_page
    monkeypatch.setattr(
        search, "keyset_page", lambda rows, **at: page_of(rows.extra(where=["pg_sleep(9) IS NULL"]), **at)
    )
    shown = member_of(tenant).get(f"{PAGE}?text=found")
    assert (shown.status_code, shown.context_data["form"].errors) == (400, {"text": [ledger_list.TEXT_TOO_SLOW]})
    assert shown.content.decode().count(ledger_list.TEXT_TOO_SLOW) == 2, "beside the field, and above the list"


def test_filters_use_their_index_and_scan_nothing(tenant: Any) -> None:
    row = entry(tenant, "a")
    copies(
        row,
        20_000,
        requested_at="now() - n * interval '1 minute'",
        actor_name="'actor ' || n % 90",
        target_id="'target ' || n % 90",
        action="(ARRAY['cancel', 'pause', 'publish', 'import'])[1 + n % 4]",
        parent_id="CASE WHEN n % 50 > 0 THEN gen_random_uuid() END",
        state="(ARRAY['observed', 'observed', 'observed', 'refused'])[1 + n % 4]",
    )
    rows = Command.objects.filter(tenant_id=tenant.id).order_by("-requested_at", "-id")
    for field, value in (
        ("actor_name", "actor 7"),
        ("target_id", "target 7"),
        ("action", "pause"),
        ("state", "refused"),
    ):
        assert field in conditions_of(tenant, rows.filter(**{field: value})[:51]), field
    indexes = [node.get("Index Name") for node in plan_of(tenant, rows.filter(parent__isnull=True)[:51])]
    assert "workflow_commands_whole" in indexes, "a page without the parts of jobs does not read the parts"
    assert "requested_at" in conditions_of(
        tenant, rows.filter(requested_at__lt=timezone.now() - timedelta(days=3))[:51]
    )


def test_api_filters_by_time(tenant: Any) -> None:
    row = entry(tenant, "a")
    api = Api(make_token(tenant, Role.VIEWER))
    moment = row.requested_at.isoformat().replace("+00:00", "Z")
    for filters, found in ((f"requested_after={moment}", 1), (f"requested_before={moment}", 0)):
        assert len(api.get(f"/commands?{filters}").json()["results"]) == found


@pytest.mark.parametrize(
    ("outcome", "tone", "word"),
    [("delivered", "green", "Delivered"), ("unmatched", "grey", "Unmatched"), ("rejected", "grey", "Rejected")],
)
def test_sent_event_has_its_type_its_key_and_what_became_of_it(tenant: Any, outcome: str, tone: str, word: str) -> None:
    client = member_of(tenant, role="operator")
    form = {"event_type": "PAID", "workflow_correlation_key": "PAY-7", "payload": "{}"}
    client.post(reverse("admin:workflows_event_send"), form)
    Event.objects.filter(tenant=tenant).update(outcome=outcome, outcome_reason="What became of it.")
    with sent_statements() as sent:
        page = client.get(PAGE)
    assert len(sent) <= 12, "\n".join(sent)
    (row,) = page.context_data["rows"]
    assert (row.mark.word, row.mark.tone, row.effect.word) == ("Observed", tone, word)
    assert (row.target.kind, row.target.name) == ("PAID", "PAY-7")
    assert row.target.url == reverse("admin:workflows_event_change", args=[Event.objects.get(tenant=tenant).id])
    one = client.get(reverse("admin:workflows_command_change", args=[row.command.id])).content.decode()
    assert all("What became of it." in shown for shown in (page.content.decode(), one))


def test_key_of_a_sent_event_is_hidden_by_the_rules(tenant: Any) -> None:
    type(tenant).objects.filter(id=tenant.id).update(redaction_rules=["workflow_correlation_key"])
    client = member_of(tenant, role="operator")
    client.post(
        reverse("admin:workflows_event_send"),
        {"event_type": "PAID", "workflow_correlation_key": "PAY-7", "payload": "{}"},
    )
    (row,) = client.get(PAGE).context_data["rows"]
    assert row.target.name == "[redacted]"


def test_file_of_events_with_refused_lines_is_not_green(tenant: Any) -> None:
    command = command_open(
        actor=make_actor(tenant), action=CommandAction.SEND_EVENT, target_type="event file", target_id="d"
    )
    details = {"new": 3, "duplicate": 0, "refused": 1, "problem": 0}
    command_finish(command, CommandState.OBSERVED, details=details)
    (row,) = member_of(tenant).get(PAGE).context_data["rows"]
    assert (row.mark.tone, row.effect_text) == ("amber", "3 new, 1 refused")


def test_targets_with_an_id_have_their_name_and_observed_commands_say_how_long_it_took(tenant: Any) -> None:
    """The command that starts a run is older than the run, so the row has no link to the run."""
    version = publish(tenant, {"id": "s", "type": "state.set", "config": {"state": "DONE"}})
    run = make_run(tenant, definition_version=version, correlation_key="")
    of_definition = {"tenant": tenant, "definition": version.definition}
    kept, removed = (
        Schedule.objects.create(
            **of_definition, name=name, kind="cron", cron="0 2 * * *", temporal_schedule_id=name, removed_at=at
        )
        for name, at in (("Nightly", None), ("Old", timezone.now()))
    )
    calendar = HolidayCalendar.objects.create(tenant=tenant, name="Bank")
    fail_run(version)
    incident = grow_incidents(tenant)[0]
    targets = [
        ("run", run), ("schedule", kept), ("schedule", removed), ("holiday calendar", calendar), ("incident", incident),
    ]  # fmt: skip
    for kind, target in targets:
        command = command_open(
            actor=make_actor(tenant), action=CommandAction.START_RUN, target_type=kind, target_id=str(target.id)
        )
        Command.objects.filter(id=command.id).update(
            state="observed", decided_at=command.requested_at, observed_at=command.requested_at + timedelta(seconds=3)
        )
    client = member_of(tenant, role="viewer")
    with sent_statements() as sent:
        page = client.get(f"{PAGE}?action=start_run")
    assert len(sent) <= 12, "\n".join(sent)
    shown = [(row.target.kind, row.target.name, bool(row.target.url)) for row in reversed(page.context_data["rows"])]
    assert shown == [
        (run.definition.name, "", True), ("Schedule", "Nightly", True), ("Schedule", "Old", False),
        ("Holiday calendar", "Bank", True), ("Incident", f"INC-{incident.number}", True),
    ]  # fmt: skip
    assert page.content.decode().count("Observed after 3.0 s") == 5
    for row in page.context_data["rows"]:
        assert not row.target.url or client.get(row.target.url).status_code == 200, row.target


def test_page_of_a_command_has_its_times_with_seconds_and_its_reason_apart_from_the_request(tenant: Any) -> None:
    command = entry(tenant, "a", why="Paid twice.")
    shown = member_of(tenant).get(reverse("admin:workflows_command_change", args=[command.id])).content.decode()
    assert f">{command.requested_at:%H:%M:%S} UTC</time>" in shown
    reason = shown.split(">Reason</h2>")[1].split("</section>")[0]
    assert ("Paid twice." in reason, ">Request</h2>" in shown) == (True, False)
