"""Page of the expression lab: any expression over the scopes of a run at a step, or over a stored event.

Source: docs/reference/screens.md#expression-lab
"""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from workflows.actors import Actor
from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.errors import PermissionRefused, PortalError
from workflows.json_numbers import write_json
from workflows.models import Event, Run, RunStep
from workflows.outline.rows import OutlineRow
from workflows.services.expression_lab import CONTRACTS, MAX_LENGTH, LabError, expression_evaluate
from workflows.statuses import Engine, Role

SHOWN_STEPS = 500
MAX_SCOPES_LENGTH = 200_000
SEPARATOR = "#"


def lab_address(run: Run, row: OutlineRow) -> str:
    """Return the address of the lab with the scopes before this step, or an empty text if the lab cannot repeat them.

    The lab repeats a run of the present engine up to a step that the run has reached.
    """
    if run.engine != Engine.TEMPORAL or not row.attempts:
        return ""
    step = f"{row.node.path}{SEPARATOR}{row.iteration}" if row.iteration else row.node.path
    return f"{reverse('admin:workflows_definition_lab')}?{urlencode({'run': str(run.id), 'step': step})}"


class LabForm(forms.Form):
    """Form of the lab. A step is written as `path` or as `path#iteration`."""

    expression = forms.CharField(
        max_length=MAX_LENGTH,
        strip=False,
        widget=forms.Textarea(attrs={"class": "in mono", "rows": 6, "spellcheck": "false"}),
    )
    run = forms.UUIDField(
        label="Run id",
        required=False,
        widget=forms.TextInput(attrs={"class": "in mono", "spellcheck": "false"}),
        help_text="The expression sees the scopes of this run.",
    )
    step = forms.CharField(
        required=False,
        max_length=700,
        widget=forms.TextInput(attrs={"class": "in mono", "list": "lab-steps", "spellcheck": "false"}),
        help_text="The scopes before this step, for example root.steps[2], in a loop with the iteration:"
        " root.steps[2].body.steps[0]#4. Leave empty for the present position, or for the end of the run.",
    )
    event = forms.UUIDField(
        label="Or event id",
        required=False,
        widget=forms.TextInput(attrs={"class": "in mono", "spellcheck": "false"}),
        help_text="The portal's id of a stored event. The expression sees `event`, like the mapping of a trigger.",
    )
    contract = forms.TypedChoiceField(
        label="Expression contract",
        required=False,
        coerce=int,
        empty_value=None,
        choices=[("", "the version of the run"), *((number, f"version {number}") for number in CONTRACTS)],
        widget=forms.Select(attrs={"class": "in"}),
    )


class ExpressionLabViews(TenantAdmin):
    """View of `DefinitionAdmin` for the lab. It changes nothing. The form is sent with POST, because it can be long."""

    def lab_urls(self) -> list[URLPattern]:
        return [path("expression-lab/", self.admin_site.admin_view(self.lab_view), name="workflows_definition_lab")]

    def lab_view(self, request: HttpRequest) -> HttpResponse:
        actor = actor_of(request)
        may_use = actor.has_role(Role.OPERATOR)
        if request.method == "POST" and not may_use:
            raise PermissionDenied("You need the role operator to use the expression lab.")
        names = ("expression", "run", "step", "event", "contract")
        initial = {name: request.GET[name] for name in names if name in request.GET}
        form = LabForm(request.POST or None, initial=initial)
        result, scopes = None, None
        if request.method == "POST" and form.is_valid():
            try:
                result, scopes = _evaluated(actor, form.cleaned_data)
            except PermissionRefused as error:
                raise PermissionDenied(error.message) from error
            except PortalError as error:
                form.add_error(NON_FIELD_ERRORS, error_text(error))
        source = form["expression"].value() or ""
        context = self.page_context(
            request,
            "Expression lab",
            form=form,
            may_use=may_use,
            result=result,
            value="" if result is None or result.error else write_json(result.value, indent=2, ensure_ascii=False),
            marked=_marked(source, result.error) if result is not None and result.error else None,
            scopes=scopes,
            scopes_text=_scopes_text(scopes.view) if scopes else "",
            **(_subject(actor, form) if may_use else {}),
        )
        return TemplateResponse(request, "portal/expression_lab.html", context)


def _evaluated(actor: Actor, fields: dict[str, Any]) -> Any:
    step_path, _, iteration = fields["step"].strip().partition(SEPARATOR)
    return expression_evaluate(
        actor=actor,
        expression=fields["expression"],
        run_id=fields["run"],
        step_path=step_path,
        iteration=iteration,
        event_id=fields["event"],
        contract=fields["contract"],
    )


def _subject(actor: Actor, form: forms.Form) -> dict[str, Any]:
    """Return the run or the event of the form, and the steps of the run for the list of choices."""
    try:
        run_id = form.fields["run"].clean(form["run"].value())
        event_id = form.fields["event"].clean(form["event"].value())
    except forms.ValidationError:
        return {}
    runs = Run.objects.filter(tenant_id=actor.tenant_id, id=run_id).select_related("definition")
    events = Event.objects.filter(tenant_id=actor.tenant_id, id=event_id).only("id", "event_type")
    steps = RunStep.objects.filter(tenant_id=actor.tenant_id, run_id=run_id, attempt=1).order_by("projection_seq")
    rows = steps.values_list("step_path", "iteration", "step_id")[:SHOWN_STEPS] if run_id else ()
    return {
        "run": runs.only("correlation_key", "definition__name").first() if run_id else None,
        "event": events.first() if event_id else None,
        "steps": [(f"{at}{SEPARATOR}{loop}" if loop else at, step_id) for at, loop, step_id in rows],
    }


def _marked(source: str, error: LabError) -> dict[str, str]:
    """Return the expression in three parts. The part in the middle begins at the position of the error."""
    at = len(source) if error.position is None else error.position
    return {"before": source[:at], "at": source[at : at + 1] or " ", "after": source[at + 1 :]}


def _scopes_text(view: dict[str, Any]) -> str:
    shown = {
        name: view[name] for name in ("payload", "vars", "local", "meta", "system", "error", "event") if name in view
    }
    text = write_json(shown, indent=2, ensure_ascii=False)
    return text if len(text) <= MAX_SCOPES_LENGTH else f"{text[:MAX_SCOPES_LENGTH]}\n… (cut)"
