"""The list of definitions with what their runs did in the last 24 hours.

Source: docs/reference/screens.md#other-screens
"""

from typing import Any

from django.contrib.admin.views.main import SEARCH_VAR
from django.http import HttpRequest
from django.urls import reverse

from workflows.admin.list_filters import CheckedChangeList, is_filtered, kept_parameters, query_with
from workflows.models import Definition
from workflows.selectors.activity import DefinitionActivity, activity_of_definitions
from workflows.selectors.definition_page import starts_of_definitions

PROBLEM = "problem"
AUTO_PAUSED = "auto_paused"


def list_context(shown: CheckedChangeList, request: HttpRequest) -> dict[str, Any]:
    """Return what the template of the list needs. Cost: two statements beside the rows."""
    query = request.GET
    definitions: list[Definition] = list(shown.result_list)
    ids = [definition.id for definition in definitions]
    tenant_id = request.tenant.id  # type: ignore[attr-defined]
    found = activity_of_definitions(tenant_id=tenant_id, ids=ids) if ids else {}
    starts = starts_of_definitions(definitions, tenant_id=tenant_id) if ids else {}
    chosen = query.get(PROBLEM, "")
    return {
        "rows": [_row(definition, found[definition.id], starts[definition.id]) for definition in definitions],
        "chips": [
            {"word": "All", "tone": "grey", "query": query_with(query, PROBLEM, ""), "is_chosen": not chosen},
            {
                "word": "Paused by the portal", "icon": "held", "tone": "amber", "is_chosen": chosen == AUTO_PAUSED,
                "query": query_with(query, PROBLEM, AUTO_PAUSED),
            },
        ],
        "kept": kept_parameters(query),
        "search": query.get(SEARCH_VAR, ""),
        "search_label": "Part of a name or a key",
        "problems": shown.problems,
        "problem_lines": shown.problems,
        "is_filtered": is_filtered(query),
        "cleared": reverse("admin:workflows_definition_changelist"),
    }  # fmt: skip


def _row(definition: Definition, activity: DefinitionActivity, starts: list[str]) -> dict[str, Any]:
    return {"definition": definition, "activity": activity, "starts": starts}
