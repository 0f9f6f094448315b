"""Preview of the replay of an incident: its runs with links, the first run, missing workers, and errors of the form.

Source: docs/reference/incidents.md#replay
"""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from portal.pages import outages
from tests.support.api import Api
from tests.support.bulk_jobs import accept_starts, complete_job, executed
from tests.support.factories import make_actor, make_token, publish
from tests.support.failed_runs import CAPTURE, fail_run, grow_incidents
from tests.support.incident_pages import page_of, preview
from tests.support.members import member_of
from tests.support.servers_state import servers
from tests.support.statements import sent_statements
from workflows.models import ActionInvocation, BulkJob, Incident, Run, RunStep
from workflows.models.fields import new_id
from workflows.projections.transaction import projection_writer
from workflows.services.bulk.jobs import bulk_start
from workflows.temporal.task_queues import TaskQueueState

KEYS = tuple(f"PAY-{number}" for number in range(8))
MOST_STATEMENTS = 12


@pytest.fixture
def runs(tenant: Any, monkeypatch: pytest.MonkeyPatch, no_dispatcher: None) -> dict[str, Run]:
    """Return eight failed runs of one incident by key. PAY-7 is the newest, and alone has another form of input.

    The first six runs have executed an action that is not idempotent.
    """
    accept_starts(monkeypatch)
    version, now = publish(tenant, CAPTURE), timezone.now()
    made = {}
    for number, key in enumerate(KEYS):
        given: dict[str, Any] = {"amount": number, "bank": {"code": "X"}} if key != "PAY-7" else {"amount": "7"}
        made[key] = fail_run(
            version, correlation_key=key, input=given, created_at=now + timedelta(seconds=number - 60), ended_at=now
        )
        if number < 6:
            executed(made[key])
    return made


@pytest.fixture
def incident(tenant: Any, runs: dict[str, Run]) -> Incident:
    return grow_incidents(tenant)[0]


def run_page(run: Run) -> str:
    return reverse("admin:workflows_run_change", args=[run.id])


def card_of(client: Any, incident: Incident, job: BulkJob) -> str:
    """Return the card of the preview on the page of the incident."""
    shown = client.get(f"{page_of(incident)}?preview={job.id}").content.decode()
    return " ".join(shown.split()).split('id="replay"')[1].split("</section>")[0]


def test_preview_links_the_runs_that_start_and_those_that_repeat_an_effect(
    tenant: Any, incident: Incident, runs: dict[str, Run]
) -> None:
    client = member_of(tenant)
    job = preview(client, incident)
    card = card_of(client, incident, job)
    page = reverse("admin:workflows_bulkjob_change", args=[job.id])
    assert "ran in 6 of the 8 runs." in card
    facts = card.split("Not idempotent.")[1].split('class="note')[0].split("<form")[0]
    assert [key for key in KEYS if run_page(runs[key]) in facts] == ["PAY-1", "PAY-2", "PAY-3", "PAY-4", "PAY-5"]
    assert f'<a href="{page}?repeats=yes">all 6 runs</a>' in facts
    assert f'href="{page}?outcome=pending">See all</a>' in card
    for query, listed in (("?repeats=yes", KEYS[:6]), ("?outcome=pending", KEYS)):
        table = client.get(f"{page}{query}").content.decode().split("<tbody>")[-1].split("</tbody>")[0]
        assert [key for key in KEYS if f"<bdi>{key}</bdi>" in table] == list(listed), query
    assert client.get(f"{page}?repeats=maybe").status_code == 400


def test_first_run_is_typical_and_can_be_chosen_with_its_input_and_branch(
    tenant: Any, incident: Incident, runs: dict[str, Run]
) -> None:
    with projection_writer("test"):
        RunStep.objects.create(
            tenant=tenant, run=runs["PAY-5"], step_path="root.steps[0]", step_id="large", name="Large amount?",
            step_type="control.if", status="SUCCEEDED", branch="else", started_at=timezone.now(),
        )  # fmt: skip
    client = member_of(tenant)
    job = preview(client, incident)
    card = card_of(client, incident, job)
    choices = re.findall(r'<input type="radio" name="first_run_id" value="([^"]+)"( checked)?', card)
    assert [chosen for chosen, is_checked in choices if is_checked] == [str(runs["PAY-6"].id)]
    assert [chosen for chosen, _ in choices][1:3] == [str(runs["PAY-7"].id), str(runs["PAY-5"].id)]
    assert "took “<bdi>Large amount?: no</bdi>” on version 1" in card
    assert "&quot;amount&quot;: 5" in card
    fields = {"accept_repeats": "on", "first_only": "on", "first_run_id": str(runs["PAY-4"].id)}
    started = client.post(
        f"{page_of(incident)}?preview={job.id}", {"idempotency_key": str(new_id()), "shown_on": "incident", **fields}
    )
    assert started.url == page_of(incident)
    assert complete_job(job).state == "paused"
    assert Run.objects.get(tenant=tenant, replay_of__isnull=False).replay_of_id == runs["PAY-4"].id


def test_first_run_must_be_one_that_the_job_starts(tenant: Any, incident: Incident) -> None:
    other = fail_run(publish(tenant, CAPTURE), correlation_key="OTHER")
    client = member_of(tenant)
    job = preview(client, incident)
    body = {"accept_repeats": True, "first_run": str(other.id)}
    refused = Api(make_token(tenant)).post(f"/bulk/{job.id}/start", body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "BULK_FIRST_RUN")
    fields = {"accept_repeats": "on", "first_run_id": str(other.id), "reason": "typed", "shown_on": "incident"}
    shown = client.post(f"{page_of(incident)}?preview={job.id}", fields).content.decode()
    assert "The job does not start this run. Choose another run." in shown
    job.refresh_from_db()
    assert job.state == "preview"


def test_runs_that_repeat_an_effect_are_left_out_if_the_person_chooses_so(
    tenant: Any, incident: Incident, runs: dict[str, Run]
) -> None:
    client = member_of(tenant)
    job = preview(client, incident)
    page = reverse("admin:workflows_bulkjob_change", args=[job.id])
    card = card_of(client, incident, job)
    assert re.findall(r'name="repeats" value="(\w+)" form="bulk-start"( checked)?', card) == [
        ("leave_out", ""), ("accept", ""),
    ]  # fmt: skip
    see = f'<a href="{page}?outcome=pending&amp;repeats=no">See 2</a>'
    assert re.search(rf"Only the 2 that did not run “<bdi>[^<]+</bdi>” {re.escape(see)}", card)
    for text in ("Replay 2 or 8 runs?", "<b>can start</b> on version 1", "8 of the 8 runs failed on version 1."):
        assert text in card, text  # the number is not known before the choice
    assert 'name="accept_repeats"' not in card
    table = client.get(f"{page}?outcome=pending&repeats=no").content.decode().split("<tbody>")[-1].split("</tbody>")[0]
    assert [key for key in KEYS if f"<bdi>{key}</bdi>" in table] == ["PAY-6", "PAY-7"]
    executed(runs["PAY-7"])  # since the preview
    fields = {"idempotency_key": str(new_id()), "shown_on": "incident", "repeats": "leave_out"}
    started = client.get(client.post(f"{page_of(incident)}?preview={job.id}", fields).url).content.decode()
    assert "A worker sends one request to Temporal." in started
    complete_job(job)
    assert {run.replay_of_id for run in Run.objects.filter(tenant=tenant, replay_of__isnull=False)} == {
        runs["PAY-6"].id
    }
    ledger = reverse("admin:workflows_command_changelist")
    for address in (page, reverse("admin:workflows_bulkjob_changelist"), ledger):
        assert re.search(r">(<bdi>)?Replay 1 of 8 runs<", client.get(address).content.decode()), address
    left_out = client.get(f"{page}?outcome=left_out").content.decode()
    assert left_out.count("a replay would repeat the effect of an action that is not idempotent") == 7


def test_preview_has_a_tick_instead_of_the_choice_if_each_run_repeats_an_effect(
    tenant: Any, incident: Incident, runs: dict[str, Run]
) -> None:
    for key in ("PAY-6", "PAY-7"):
        executed(runs[key])
    card = card_of(member_of(tenant), incident, preview(member_of(tenant), incident))
    assert ('name="accept_repeats"' in card, 'name="repeats"' in card) == (True, False)


def test_api_leaves_out_the_runs_that_repeat_an_effect(tenant: Any, incident: Incident) -> None:
    job, api = preview(member_of(tenant), incident), Api(make_token(tenant))
    assert api.get(f"/bulk/{job.id}").json()["preview"]["repeating_runs"] == 6
    both = api.post(f"/bulk/{job.id}/start", {"leave_out_repeats": True, "accept_repeats": True})
    assert both.status_code == 400
    started = api.post(f"/bulk/{job.id}/start", {"leave_out_repeats": True}).json()
    assert (started["outcomes"]["pending"], started["outcomes"]["left_out"]) == (2, 6)
    items = api.get(f"/bulk/{job.id}/items?outcome=left_out").json()["results"]
    assert {(item["code"], item["repeats_effects"]) for item in items} == {("REPLAY_REPEATS_EFFECTS", True)}


def test_start_without_the_choice_stays_on_the_page_of_the_incident(
    tenant: Any, incident: Incident, runs: dict[str, Run]
) -> None:
    client = member_of(tenant)
    job = preview(client, incident)
    address = f"{page_of(incident)}?preview={job.id}"
    assert f'action="{address}"' in client.get(address).content.decode()
    fields = {"reason": "the bank is back", "shown_on": "incident", "first_run_id": str(runs["PAY-3"].id)}
    response = client.post(address, {"idempotency_key": str(new_id()), **fields})
    assert (response.status_code, response.request["PATH_INFO"]) == (200, page_of(incident))
    card = " ".join(response.content.decode().split()).split('id="replay"')[1].split("</section>")[0]
    for text in (
        'name="repeats" value="leave_out" form="bulk-start" aria-invalid="true" autofocus',
        "Nothing was started. Choose which runs start.",
        'value="the bank is back"',
        f'value="{runs["PAY-3"].id}" checked',
        f'action="{address}"',
    ):
        assert text in card, text
    job.refresh_from_db()
    assert job.state == "preview"
    assert client.post(f"{page_of(incident)}?preview={new_id()}", fields).status_code == 404
    assert client.post(page_of(incident), fields).status_code == 405
    assert member_of(tenant, role="viewer").post(address, fields).status_code == 403


NOTHING = TaskQueueState(pollers=0, polled_at=None, backlog=0, backlog_age_seconds=0)
JOB_WAITS, NO_PROGRESS = "The job waits until a worker takes it.", "New runs do not progress."


@pytest.mark.parametrize(
    ("found", "texts"),
    [
        ({}, []),
        ({"workers": 0}, ["No Celery worker is running.", JOB_WAITS, "celery -A portal worker"]),
        (
            {"queues": (NOTHING, NOTHING)},
            ["No Temporal worker polls the task queue", NO_PROGRESS, "Start a Temporal worker"],
        ),
        ({"polled": None, "workers": None}, ["Temporal does not respond", "Redis does not respond", "Start Redis"]),
    ],
)
def test_preview_and_progress_say_that_no_worker_lives_and_what_to_do(
    tenant: Any, incident: Incident, monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], texts: list[str]
) -> None:
    monkeypatch.setattr(outages, "servers", lambda: servers(**found))
    client = member_of(tenant)
    job = preview(client, incident)
    page = reverse("admin:workflows_bulkjob_change", args=[job.id])
    with sent_statements() as statements:
        shown = [card_of(client, incident, job)]
    assert len(statements) <= MOST_STATEMENTS, [sql[-160:] for sql in statements]
    shown.append(client.get(page).content.decode())
    bulk_start(actor=make_actor(tenant), job_id=job.id, accept_repeats=True)
    shown += [client.get(page).content.decode(), client.get(page_of(incident)).content.decode()]
    for text in (" ".join(page.split()) for page in shown):
        assert [name for name in texts if name not in text] == []
        assert texts or all(name not in text for name in (JOB_WAITS, NO_PROGRESS))


def test_start_is_refused_with_its_reason_if_the_first_effect_was_recorded_since_the_preview(
    tenant: Any, incident: Incident, runs: dict[str, Run]
) -> None:
    ActionInvocation.objects.filter(tenant=tenant).delete()
    client = member_of(tenant)
    job = preview(client, incident)
    assert 'name="accept_repeats"' not in card_of(client, incident, job)
    executed(runs["PAY-7"])
    fields = {"idempotency_key": str(new_id()), "shown_on": "incident"}
    refused = client.post(f"{page_of(incident)}?preview={job.id}", fields, follow=True).content.decode()
    name = ActionInvocation.objects.get(tenant=tenant).action_id
    for text in (
        "Nothing was started. Tick that a second effect is acceptable.",
        'name="accept_repeats"',
        f": {name}@",
    ):
        assert text in refused, text
    job.refresh_from_db()
    assert job.state == "preview"
    client.post(
        f"{page_of(incident)}?preview={job.id}", {**fields, "idempotency_key": str(new_id()), "accept_repeats": "on"}
    )
    job.refresh_from_db()
    assert job.state == "running"
