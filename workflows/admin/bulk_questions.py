"""Questions before a step of a bulk job that cannot be undone: title and text of the confirmation page."""

import uuid
from collections.abc import Callable

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from workflows.models import BulkItem, BulkJob, Run
from workflows.selectors.incident_replays import replay_runs
from workflows.selectors.run_rows import step_title, with_step_names
from workflows.services.bulk.preview_facts import preview_facts
from workflows.services.bulk.results import bulk_outcomes, items_with_outcome
from workflows.services.bulk.selectors import item_label
from workflows.status_marks import RUN
from workflows.statuses import OPEN_RUN_STATUSES, BulkItemState, BulkOutcome, ReplayVersion, RunStatus

FAILS_TOO = "Each other run will probably fail too, and it repeats its actions."


def step_question(job: BulkJob, step: str) -> tuple[str, str] | None:
    """Return the title and the text of the confirmation page of a step. Return None if the step needs none."""
    ask = _QUESTIONS.get(step)
    return ask(job) if ask else None


def _others(job: BulkJob) -> tuple[str, str]:
    """Ask before the other runs start. The pages lead here only if the first run has not succeeded.

    Cost: at most six statements.
    """
    pending = bulk_outcomes(job)[BulkOutcome.PENDING]
    more = f"{pending} more run{'' if pending == 1 else 's'}"
    first = items_with_outcome(job).filter(attempts__gt=0).first() if job.is_first_only else None
    run = _new_run(job, first.new_run_id) if first and first.new_run_id else None
    number = _version(job, run)
    where = f" on version {number}" if number else ""
    incident = f" of {job.incident}" if job.incident else ""
    title = f"Start {more}{where}?"
    if first is None:
        return title, f"The job starts {more}{where}{incident}."
    begin = format_html("The job starts {}{}{}. The first run (", more, where, incident)
    return title, begin + _result(first, run) + _repeats(job)


def _result(first: BulkItem, run: Run | None) -> str:
    """Return the rest of the sentence about the first run: its name, what became of it, and what this means."""
    label = item_label(first)
    if run is None:
        return format_html(
            "<bdi>{}</bdi>) has no new run: {} {}", label, first.message or first.get_state_display(), FAILS_TOO
        )
    name = format_html('<a href="{}"><bdi>{}</bdi></a>)', reverse("admin:workflows_run_change", args=[run.id]), label)
    step = step_title(run)
    at = f" at “{step}”" if step else ""
    if run.status in OPEN_RUN_STATUSES:
        verb = "waits" if run.status == RunStatus.WAITING else f"is {RUN[run.status].word.lower()}"
        passed = replay_runs(tenant_id=run.tenant_id, ids=[run.id])[run.id].passed_step
        if passed:
            text = "{} has passed “<bdi>{}</bdi>”, where the original failed. It {}{} and has no result yet."
            return format_html(text, name, passed, verb, at)
        return format_html("{} {}{} and has no result yet. If it fails, each other run may fail too.", name, verb, at)
    if run.status == RunStatus.SUCCEEDED:
        return format_html("{} has succeeded.", name)
    if run.status == RunStatus.FAILED:
        why = run.error_code or run.error_category
        return format_html("{} failed{}{}. {}", name, f" with {why}" if why else "", at, FAILS_TOO)
    word = "reached its time limit" if run.status == RunStatus.TIMED_OUT else f"was {RUN[run.status].word.lower()}"
    return format_html("{} {}{}. {}", name, word, at, "Find out why before you start the others.")


def _repeats(job: BulkJob) -> SafeString:
    """Return a sentence about the effects that the other runs repeat, or an empty text."""
    replay = preview_facts(job).replay
    pending = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, state=BulkItemState.PENDING)
    number = pending.filter(repeats_effects=True).count() if replay and replay.repeated else 0
    if replay is None or not number:
        return SafeString()
    actions = format_html_join(", ", "“<bdi>{}</bdi>”", ((action.label,) for action in replay.repeated))
    page = f"{reverse('admin:workflows_bulkjob_change', args=[job.id])}?outcome=pending&repeats=yes"
    text = ' <b><a href="{}">{} of these runs</a> will execute {} again.</b> {} not idempotent.'
    verb = "This action is" if len(replay.repeated) == 1 else "These actions are"
    return format_html(text, page, number, actions, verb)


def _new_run(job: BulkJob, run_id: uuid.UUID) -> Run | None:
    runs = Run.objects.filter(tenant_id=job.tenant_id, id=run_id)
    return with_step_names(runs).select_related("definition__published_version").first()


def _version(job: BulkJob, run: Run | None) -> int | None:
    """Return the version on which the other runs start: a replay on the published version reads it for each run."""
    facts = preview_facts(job)
    if job.replay_version == ReplayVersion.PINNED:
        return facts.pinned
    published = run.definition.published_version if run and facts.published else None
    return published.version if published else facts.published


def _stop(job: BulkJob) -> tuple[str, str]:
    return (
        "Stop this job?",
        "This job sends no more requests. Requests that were already sent are not undone. To continue, create a new "
        "job.",
    )


def _retry_failures(job: BulkJob) -> tuple[str, str]:
    return (
        "Repeat the failed requests?",
        "The job sends a new request for each run whose request failed, has an unknown outcome, or was refused by "
        "Temporal. It does not retry a run that was refused because of its status, a run that has been accepted "
        "meanwhile, or a replay that may have started its run.",
    )


_QUESTIONS: dict[str, Callable[[BulkJob], tuple[str, str]]] = {
    "resume": _others,
    "stop": _stop,
    "retry-failures": _retry_failures,
}
