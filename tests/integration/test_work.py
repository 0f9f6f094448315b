"""One piece of work: an original run, its replays, and their replays. The newest run decides.

Source: docs/reference/incidents.md#what-counts
"""

from datetime import timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone

from tests.support.factories import make_run
from tests.support.failed_runs import fail_run, grow_incidents
from tests.support.members import member_of
from workflows.models import Incident, IncidentFailure, Run
from workflows.selectors.attention import RunProblem, runs_with_problem
from workflows.selectors.incidents import replays_of_incidents, runs_of_incident
from workflows.selectors.work import runs_that_decide


def chain(tenant: Any, *made: tuple[str, str]) -> dict[str, Run]:
    """Create failed runs of one definition, each one minute after the one before it: name, and name of its original."""
    begin, runs = timezone.now() - timedelta(minutes=30), {"": make_run(tenant, status="SUCCEEDED")}
    for place, (name, original) in enumerate(made):
        at = begin + timedelta(minutes=place)
        fields = {"created_at": at, "ended_at": at + timedelta(seconds=5), "correlation_key": name}
        of = {"replay_of": runs[original]} if original else {}
        runs[name] = fail_run(runs[""].definition_version, code="" if name == "other" else "NOT_FOUND", **fields, **of)
    return runs


def deciding(tenant: Any) -> set[str]:
    return set(
        runs_that_decide(Run.objects.filter(tenant=tenant, status="FAILED")).values_list("correlation_key", flat=True)
    )


def test_newest_run_of_a_chain_decides_at_any_depth(tenant: Any) -> None:
    chain(tenant, ("alone", ""), ("a", ""), ("b", "a"), ("c", "a"), ("d", "b"), ("x", ""), ("y", "x"), ("z", "y"))
    # d is newer than c, although c is a replay of the original and d only one of an earlier replay.
    assert deciding(tenant) == {"alone", "d", "z"}
    chain(tenant, ("e", ""), ("f", "e"), ("g", "f"), ("h", "e"))
    assert deciding(tenant) == {"alone", "d", "z", "h"}


def test_needs_attention_counts_a_run_and_its_replays_once(tenant: Any) -> None:
    runs = chain(tenant, ("a", ""), ("b", "a"), ("c", ""))
    make_run(tenant, definition_version=runs["c"].definition_version, replay_of=runs["c"], status="WAITING")
    found = runs_with_problem(Run.objects.filter(tenant=tenant), RunProblem.UNOWNED, tenant_id=tenant.id)
    assert set(found) == {runs["b"]}


def test_replay_of_a_replay_belongs_to_the_runs_of_the_incident(tenant: Any) -> None:
    runs = chain(tenant, ("a", ""), ("b", "a"), ("c", ""), ("d", ""), ("other", "d"))
    last = make_run(tenant, definition_version=runs["a"].definition_version, replay_of=runs["b"], status="SUCCEEDED")
    incident, new = grow_incidents(tenant)
    (counts, _) = (replays_of_incidents([incident])[incident.id], None)
    assert (counts.runs, counts.not_replayed, counts.succeeded, counts.failed_again) == (3, 1, 1, 1)
    assert [(cause.number, number) for cause, number in counts.other_causes.items()] == [(new.number, 1)]
    listed = runs_of_incident(Run.objects.all(), False, True, tenant_id=tenant.id, number=incident.number)
    assert set(listed) == {runs["b"], last, runs["other"]}
    assert set(runs_that_decide(listed)) == {last, runs["other"]}
    assert Incident.objects.get(id=incident.id).run_count == 3


def test_runs_that_retention_has_deleted_are_not_called_not_replayed(tenant: Any) -> None:
    runs = chain(tenant, ("a", ""), ("c", ""), ("b", "a"))
    (incident,) = grow_incidents(tenant)
    IncidentFailure.objects.filter(run_id=runs["c"].id).delete()  # as retention does with its run
    counts = replays_of_incidents([incident])[incident.id]
    assert (incident.run_count, counts.runs, counts.total, counts.not_replayed) == (2, 1, 1, 0)


def test_replay_that_failed_with_a_new_cause_was_replayed_if_its_work_has_a_newer_run(tenant: Any) -> None:
    # Each replay failed with another cause. The first original was then replayed again, and so was the second replay.
    runs = chain(tenant, ("a", ""), ("b", ""), ("c", ""))
    version, begin = runs["a"].definition_version, timezone.now() - timedelta(minutes=20)

    def replay(name: str, original: str, minute: int, **fields: Any) -> None:
        at = begin + timedelta(minutes=minute)
        fields |= {"created_at": at, "ended_at": at + timedelta(seconds=5), "replay_of": runs[original]}
        if fields.get("status") == "SUCCEEDED":
            runs[name] = make_run(tenant, definition_version=version, **fields)
        else:
            runs[name] = fail_run(version, code="OTHER", **fields)

    for number, name in enumerate("abc"):
        replay(f"{name}1", name, number)
    replay("a2", "a", 5, status="SUCCEEDED")
    replay("b2", "b1", 6, status="SUCCEEDED")
    first, other = grow_incidents(tenant)
    counts = replays_of_incidents([first, other])
    assert (counts[first.id].succeeded, counts[first.id].failed, counts[first.id].not_replayed) == (2, 1, 0)
    assert (counts[other.id].runs, counts[other.id].succeeded, counts[other.id].not_replayed) == (3, 2, 1)
    client = member_of(tenant)

    def listed(incident: Incident, choice: str) -> set[Run]:
        address = reverse("admin:workflows_run_changelist")
        page = client.get(address, {"incident": incident.number, "replays": choice})
        return set(page.context["cl"].result_list)

    assert listed(first, "never") == set()
    assert listed(first, "newest") == {runs["a2"], runs["b2"], runs["c1"]}
    assert listed(other, "never") == {runs["c1"]}
    assert listed(other, "newest") == {runs["a2"], runs["b2"]}
