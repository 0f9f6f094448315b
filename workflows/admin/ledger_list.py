"""List of the command ledger with its search (docs/reference/screens.md#command-ledger)."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from workflows.admin.base import actor_of
from workflows.admin.forms import end_of_day, start_of_day
from workflows.admin.list_filters import LIST_SECONDS, TOO_SLOW, unknown_parameters
from workflows.database_errors import is_canceled
from workflows.models.statements import statement_limit
from workflows.selectors.keyset import KeysetPage
from workflows.selectors.ledger_search import LedgerPage, LedgerSearch, ledger_search
from workflows.statuses import CommandAction, CommandState, Role

IN, DAY = {"class": "in"}, {"class": "in", "type": "date"}
# Names that links of other pages use.
OTHER_NAMES = {"q": "target", "state__exact": "state"}


class LedgerSearchForm(forms.Form):
    actor = forms.CharField(required=False, max_length=200, widget=forms.TextInput(attrs=IN))
    action = forms.ChoiceField(
        required=False, choices=[("", "Every action"), *CommandAction.choices], widget=forms.Select(attrs=IN)
    )
    target = forms.CharField(required=False, max_length=200, widget=forms.TextInput(attrs=IN))
    state = forms.ChoiceField(
        required=False, choices=[("", "Every state"), *CommandState.choices], widget=forms.Select(attrs=IN)
    )
    first_day = forms.DateField(required=False, widget=forms.DateInput(attrs=DAY))
    last_day = forms.DateField(required=False, widget=forms.DateInput(attrs=DAY))
    text = forms.CharField(required=False, max_length=200, label="Text in the reason", widget=forms.TextInput(attrs=IN))

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
            form.add_error(None, TOO_SLOW)
            is_valid = False
    kept = {name: value for name, value in given.items() if name in form.fields and value}
    context = model_admin.page_context(
        request,
        "Command ledger",
        form=form,
        rows=[(command, model_admin.target(command)) for command in found.page.rows],
        found=found,
        is_filtered=bool(kept),
        first=f"?{urlencode(kept)}",
        following=f"?{urlencode({**kept, 'at': found.page.following})}" if found.page.following else "",
        may_export=actor.has_role(Role.ADMIN),
    )
    return TemplateResponse(request, "portal/ledger_list.html", context, status=200 if is_valid else 400)
