"""The run page between a cancel and its effect, and the order of the times of a cancel.

Source: docs/reference/screens.md#run-page
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from tests.support.events import open_wait
from tests.support.factories import make_actor, make_run
from tests.support.members import member_of
from workflows.ledger import command_open
from workflows.models import Command, Definition, Run
from workflows.projections.transaction import projection_writer
from workflows.statuses import CommandAction, CommandState

pytestmark = pytest.mark.usefixtures("no_dispatcher")
SEND = "Send this event"


def requested(run: Run, kind: str = "user") -> Command:
    """Add the ledger row of a cancel of the run."""
    actor = replace(make_actor(run.tenant, name="Maya Lindqvist"), kind=kind)
    return command_open(actor=actor, action=CommandAction.CANCEL, target_type="run", target_id=str(run.id), run=run)


def shown(run: Run) -> str:
    client = member_of(run.tenant, role="operator")
    page = client.get(reverse("admin:workflows_run_change", args=[run.id])).content.decode()
    return " ".join(page.replace("<bdi>", "").replace("</bdi>", "").split())


@pytest.mark.parametrize(
    ("state", "seconds", "is_shown", "is_offered"),
    [
        (CommandState.ACCEPTED, None, True, False),
        (CommandState.UNKNOWN, None, True, True),  # Temporal perhaps did not receive the request
        (CommandState.FAILED, None, False, True),
        (CommandState.OBSERVED, 1, True, False),  # the end was recorded after the row of the run was read
        (CommandState.OBSERVED, -1, False, True),  # the run was reset after its cancel
    ],
)
def test_open_run_with_a_cancel_names_the_person_and_offers_no_event(
    tenant: Any, state: str, seconds: int | None, is_shown: bool, is_offered: bool
) -> None:
    run = make_run(tenant, status="WAITING")
    open_wait(tenant, run=run)
    observed = None if seconds is None else Run.objects.get(id=run.id).projected_at + timedelta(seconds=seconds)
    Command.objects.filter(id=requested(run).id).update(state=state, observed_at=observed)
    page = shown(run)
    assert ("Cancel requested by Maya Lindqvist" in page) == is_shown
    assert (f"{SEND}…" in page, f">{SEND}</h2>" in page) == (is_offered, is_offered)


@pytest.mark.parametrize("status", ["CANCELED", "TERMINATED"])
@pytest.mark.parametrize(
    ("parent", "text"),
    [
        ("TERMINATED", "Payments PAY-1</a> ended at"),
        ("RUNNING", "Payments PAY-1</a> did it, or a person or a program in Temporal itself."),
        ("", "A person or a program did it in Temporal itself."),
    ],
)
def test_end_without_a_command_names_the_parent_or_temporal(tenant: Any, status: str, parent: str, text: str) -> None:
    fields: dict[str, Any] = {}
    if parent:
        ended_at = None if parent == "RUNNING" else timezone.now()
        fields["parent_run"] = make_run(tenant, status=parent, ended_at=ended_at, correlation_key="PAY-1")
        Definition.objects.filter(id=fields["parent_run"].definition_id).update(name="Payments")
    page = shown(make_run(tenant, status=status, ended_at=timezone.now(), **fields))
    assert text in page
    assert ("as terminated." in page) == (parent == "TERMINATED")


@pytest.mark.parametrize(
    ("kind", "told"), [("token", "Maya Lindqvist (API token) canceled"), ("user", "Maya Lindqvist canceled")]
)
def test_cancel_says_if_a_token_requested_it(tenant: Any, kind: str, told: str) -> None:
    run = make_run(tenant, status="CANCELED", ended_at=timezone.now())
    Command.objects.filter(id=requested(run, kind).id).update(
        state=CommandState.OBSERVED, decided_at=timezone.now(), observed_at=timezone.now()
    )
    assert told in shown(run)
    rows = strip_tags(member_of(tenant).get(reverse("admin:workflows_run_changelist")).content.decode())
    by_token = "By Maya Lindqvist (API token)" in " ".join(rows.split())
    assert ("By Maya Lindqvist" in rows, by_token) == (True, kind == "token")


@pytest.mark.parametrize(
    ("ended", "decided", "texts", "absent"),
    [
        (21, 33, ["took effect 21 ms later", "The run ended before the portal had recorded"], "33 ms later"),
        (50, 33, ["took effect 50 ms later", "Temporal accepted the request 33 ms later"], "The run ended before"),
        (-5, 33, ["The cancel took effect at once.", "The run ended before the portal had recorded"], "ms later"),
    ],
)
def test_times_of_two_clocks_are_not_shown_in_an_impossible_order(
    tenant: Any, ended: int, decided: int, texts: list[str], absent: str
) -> None:
    run = make_run(tenant, status="CANCELED", ended_at=timezone.now())
    command = requested(run)
    with projection_writer("test"):
        Run.objects.filter(id=run.id).update(ended_at=command.requested_at + timedelta(milliseconds=ended))
    decided_at = command.requested_at + timedelta(milliseconds=decided)
    Command.objects.filter(id=command.id).update(
        state=CommandState.OBSERVED, decided_at=decided_at, observed_at=decided_at
    )
    page = shown(run)
    assert ([text for text in texts if text not in page], absent in page) == ([], False)
