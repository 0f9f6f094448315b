"""Page that replays one run: version, input, warnings, and the changes of the input before the new run starts.

Source: docs/reference/authority.md#control-matrix
"""

import uuid
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from workflows.actors import Actor
from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import ReplayForm
from workflows.admin.text_diff import changed_lines
from workflows.errors import NotFound, PortalError
from workflows.json_numbers import write_json
from workflows.models import Run
from workflows.redaction import redact, restored, rules_in
from workflows.selectors.runs import run_ending
from workflows.services.payload_check import payload_problems
from workflows.services.runs.replay import run_replay
from workflows.services.runs.replay_checks import FAILED_STATUSES, ReplayFacts, replay_facts_of_run
from workflows.services.runs.replay_rules import REPEATS, RUN_OPEN, RUN_SUCCEEDED, replay_version
from workflows.services.runs.requests import run_find
from workflows.statuses import Engine, ReplayVersion, Role

ACCEPTED = "Temporal has accepted the new run. Its result is not known yet. The new run is linked with the old run."
# Field of the form that shows the error with this code.
FIELDS_OF_ERRORS = {
    "PAYLOAD_INVALID": "payload",
    "DEFINITION_NOT_PUBLISHED": "on",
    RUN_OPEN: "allow_another_run",
    RUN_SUCCEEDED: "allow_another_run",
    REPEATS: "accept_repeats",
}


class RunReplayView(TenantAdmin):
    """View of `RunAdmin`. On the first POST, it shows the changes of the input. On the second POST, the run starts."""

    def replay_view(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        """Check the whole form before the request is sent, so that problems are shown beside their fields.

        A value that is still redacted in the form is replaced by the original value.
        """
        actor = actor_of(request)
        try:
            run = run_find(actor=actor, run_id=run_id)
        except NotFound as error:
            raise Http404(error.message) from error
        rules = rules_in(request.tenant)  # type: ignore[attr-defined]
        shown = redact(run.input, rules, "/payload") if actor.sees_payloads else {}
        form = ReplayForm(request.POST or None, initial={"payload": _text(shown), "on": _wanted_version(request)})
        facts = replay_facts_of_run(run)
        changes: list[dict[str, str]] | None = None
        if request.method == "POST" and form.is_valid():
            payload = restored(form.cleaned_data["payload"], shown, run.input)
            is_confirmed = "confirmed" in request.POST
            why_not = _why_not(actor, run)
            if not why_not:
                _check(form, run, facts, payload, is_confirmed=is_confirmed)
            if is_confirmed and form.is_valid():
                done = self._send(request, run, form, payload)
                if done is not None:
                    return done
            if form.is_valid():
                changes = changed_lines(_text(shown), _text(form.cleaned_data["payload"]))
        context = self.page_context(
            request,
            "Replay this run?",
            run=run,
            form=form,
            facts=facts,
            ending=run_ending(run),
            versions=_versions(run, form),
            why_not=_why_not(actor, run),
            changes=changes,
            back=_run_url(run.id),
        )
        return TemplateResponse(request, "portal/replay_one.html", context)

    def _send(self, request: HttpRequest, run: Run, form: ReplayForm, payload: Any) -> HttpResponse | None:
        """Send the request. Return None if the form shows the refusal beside a field."""
        options = {name: value for name, value in form.cleaned_data.items() if name != "payload"}
        try:
            started = once(
                lambda: run_replay(
                    actor=actor_of(request), run_id=run.id, payload=payload, idempotency_key=key_of(request), **options
                )
            )
        except PortalError as error:
            if error.code in FIELDS_OF_ERRORS:
                form.add_error(FIELDS_OF_ERRORS[error.code], error.message)
                return None
            messages.error(request, error_text(error))
            return HttpResponseRedirect(_run_url(run.id))
        messages.info(request, ACCEPTED)
        return HttpResponseRedirect(_run_url(run.id if started is None else started[0]))


def _check(form: ReplayForm, run: Run, facts: ReplayFacts, payload: Any, *, is_confirmed: bool) -> None:
    """Add the problems of the input and of the ticks that are missing to their fields."""
    try:
        ref = replay_version(run, form.cleaned_data["on"]).document()["payloadSchemaRef"]
    except PortalError as error:
        form.add_error("on", error.message)
        return
    for problem in payload_problems(payload, tenant_id=run.tenant_id, ref=ref):
        form.add_error("payload", f"{problem['pointer'] or 'The input'} {problem['message']}.")
    if not is_confirmed:
        return
    if facts.in_the_way and not form.cleaned_data["allow_another_run"]:
        form.add_error("allow_another_run", "Nothing was started. Look at the other run, then tick this box if needed.")
    if facts.repeated and not form.cleaned_data["accept_repeats"]:
        form.add_error("accept_repeats", "Nothing was started. Check the effect of each action, then tick this box.")


def _versions(run: Run, form: ReplayForm) -> list[dict[str, Any]]:
    """Return the versions that can be chosen. There is no choice if the run has the published version."""
    published = run.definition.published_version
    if published is None or published.id == run.definition_version_id:
        return []
    chosen = form["on"].value() or ReplayVersion.PINNED
    has_failed = run.status in FAILED_STATUSES
    labels = {
        ReplayVersion.PUBLISHED: f"{published.version}, published",
        ReplayVersion.PINNED: f"{run.version}, as before" + (", where the run failed" if has_failed else ""),
    }
    return [{"value": value, "label": label, "is_chosen": chosen == value} for value, label in labels.items()]


def _why_not(actor: Actor, run: Run) -> str:
    """Return the reason why this actor cannot replay the run, or an empty text."""
    if run.engine == Engine.DB:
        return "This run belongs to the history of an older engine. It can only be read."
    return "" if actor.has_role(Role.OPERATOR) else f"You need the role {Role.OPERATOR} to replay runs."


def _run_url(run_id: uuid.UUID) -> str:
    return reverse("admin:workflows_run_change", args=[run_id])


def _wanted_version(request: HttpRequest) -> ReplayVersion:
    """Return the version that the address names: the links of the run page name one. Otherwise the published one."""
    return ReplayVersion.PINNED if request.GET.get("on") == ReplayVersion.PINNED else ReplayVersion.PUBLISHED


def _text(value: Any) -> str:
    return write_json(value, indent=2, ensure_ascii=False)
