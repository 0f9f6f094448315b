"""List of the command ledger with its search (docs/reference/screens.md#command-ledger)."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from workflows import status_marks
from workflows.admin.base import actor_of
from workflows.admin.forms import end_of_day, start_of_day
from workflows.admin.ledger_rows import ledger_rows
from workflows.admin.list_filters import LIST_SECONDS, TOO_SLOW, unknown_parameters
from workflows.database_errors import is_canceled
from workflows.models.statements import statement_limit
from workflows.redaction import rules_in
from workflows.selectors.keyset import KeysetPage
from workflows.selectors.ledger_search import LedgerPage, LedgerSearch, ledger_search
from workflows.statuses import CommandAction, CommandState, Role

IN, DAY = {"class": "in"}, {"class": "in", "type": "date"}
# Names that the search field and links of other pages use.
OTHER_NAMES = {"q": "target", "state__exact": "state"}
# Filters that are in the menu, in its order. The state has chips, and the target has the search field.
IN_MENU = ("actor", "action", "first_day", "last_day", "text", "parts")
TEXT_TOO_SLOW = (
    "The search for a text in the reason took too long and was stopped. Add a filter: a person, a command, a state or"
    " days."
)


class LedgerSearchForm(forms.Form):
    actor = forms.CharField(required=False, max_length=200, label="Requested by", widget=forms.TextInput(attrs=IN))
    action = forms.ChoiceField(
        required=False,
        label="Command",
        choices=[("", "Every command"), *CommandAction.choices],
        widget=forms.Select(attrs=IN),
    )
    target = forms.CharField(required=False, max_length=200, widget=forms.TextInput(attrs=IN))
    state = forms.ChoiceField(
        required=False, choices=[("", "Every state"), *CommandState.choices], widget=forms.Select(attrs=IN)
    )
    first_day = forms.DateField(required=False, label="From day (UTC)", widget=forms.DateInput(attrs=DAY))
    last_day = forms.DateField(required=False, label="To day (UTC)", widget=forms.DateInput(attrs=DAY))
    text = forms.CharField(required=False, max_length=200, label="Text in the reason", widget=forms.TextInput(attrs=IN))
    parts = forms.ChoiceField(
        required=False,
        label="Parts of bulk jobs",
        choices=[("", "Left out"), ("shown", "Shown")],
        widget=forms.Select(attrs=IN),
    )

    def search(self) -> LedgerSearch:
        """Return the filters. The days are days in UTC."""
        given = self.cleaned_data
        return LedgerSearch(
            actor=given["actor"],
            action=given["action"],
            target=given["target"],
            state=given["state"],
            since=start_of_day(given["first_day"]),
            until=end_of_day(given["last_day"]),
            text=given["text"],
            with_parts=bool(given["parts"] or given["target"] or given["text"]),
        )


def ledger_list(request: HttpRequest, model_admin: Any) -> HttpResponse:
    """Return the page of the list. A filter that cannot be read gives no rows, its problem, and status 400."""
    actor = actor_of(request)
    given = {OTHER_NAMES.get(name, name): str(value) for name, value in request.GET.items()}
    position = given.pop("at", "")
    form = LedgerSearchForm(given)
    for name, problem in unknown_parameters(request, {*form.fields, *OTHER_NAMES, "at"}):
        form.add_error(None, f"{name}: {problem}")
    is_valid = form.is_valid()
    found = LedgerPage(KeysetPage(()))
    if is_valid:
        try:
            with statement_limit(LIST_SECONDS):
                found = ledger_search(tenant_id=actor.tenant_id, search=form.search(), at=position)
        except OperationalError as error:
            if not is_canceled(error):
                raise
            form.add_error(*(("text", TEXT_TOO_SLOW) if form.search().text else (None, TOO_SLOW)))
            is_valid = False
    kept = {name: value for name, value in given.items() if name in form.fields and value}
    rules = rules_in(request.tenant)  # type: ignore[attr-defined]
    context = model_admin.page_context(
        request,
        "Command ledger",
        form=form,
        rows=ledger_rows(found.page.rows, tenant_id=actor.tenant_id, rules=rules),
        found=found,
        is_filtered=bool(kept),
        **_filters(form, kept),
        may_export=actor.has_role(Role.ADMIN),
    )
    return TemplateResponse(request, "portal/ledger_list.html", context, status=200 if is_valid else 400)


def _filters(form: LedgerSearchForm, kept: dict[str, str]) -> dict[str, Any]:
    """Return what `portal/_list_filters.html` shows: chips of the states, the search field, chosen filters."""
    words = {"": status_marks.Mark("All", "", "grey")} | status_marks.COMMAND
    names = {"target": "q", NON_FIELD_ERRORS: ""}
    problems = {
        names.get(name) or ("" if name in names else str(form[name].label)): " ".join(map(str, errors))
        for name, errors in form.errors.items()
    }
    return {
        "chips": [
            {**mark._asdict(), "query": _query(kept, state=state), "is_chosen": kept.get("state", "") == state}
            for state, mark in words.items()
        ],
        "kept": [(name, value) for name, value in kept.items() if name != "target"],
        "search": kept.get("target", ""),
        "search_label": "Key of a run, or the whole id of a target",
        "search_hint": "Key or id of a target",
        "tokens": [
            {"label": form[name].label, "value": _words(form, name, kept[name]), "without": _query(kept, **{name: ""})}
            for name in IN_MENU
            if name in kept
        ],
        "problems": problems,
        "problem_lines": problems,
        "cleared": "?",
        "menu": [form[name] for name in IN_MENU],
    }


def _query(kept: dict[str, str], **changed: str) -> str:
    return f"?{urlencode({name: value for name, value in {**kept, **changed}.items() if value})}"


def _words(form: LedgerSearchForm, name: str, value: str) -> str:
    field = form.fields[name]
    if not isinstance(field, forms.ChoiceField):
        return value
    return str(dict(field.choices).get(value, value))  # type: ignore[arg-type]
