"""Export of the run list as CSV or JSON: the runs that the filters of the list select, newest first.

The rows are read in batches and sent as they are read, so an export of any size needs little memory.
"""

import csv
import io
import uuid
from collections.abc import Iterator
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from workflows.admin.base import TenantAdmin, actor_of
from workflows.admin.run_filters import COLUMNS_VAR
from workflows.json_numbers import write_json
from workflows.models import Run
from workflows.redaction import Rules, redact, rules_of
from workflows.selectors.run_rows import step_title
from workflows.selectors.run_values import SearchPath, values_of_runs
from workflows.tenancy import tenant_scope

BATCH = 1000
CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
FIELDS = (
    "id", "definition", "version", "status", "correlation_key", "state", "trigger_type", "created_at", "started_at",
    "ended_at", "took_seconds", "error_category", "error_code", "error_message", "failed_step", "failed_step_path",
    "replay_of",
)  # fmt: skip
# Fields of each column of the list. An export of chosen columns has the fields of these columns, after ALWAYS.
ALWAYS = ("id", "status", "correlation_key", "version")
COLUMN_FIELDS = {
    "definition": ("definition",), "state": ("state",), "trigger": ("trigger_type",),
    "what": ("error_category", "error_code", "error_message", "failed_step", "failed_step_path"),
    "started": ("created_at", "started_at"), "ended": ("ended_at",), "took": ("took_seconds",),
}  # fmt: skip
# A spreadsheet runs a cell that begins with one of these characters.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class RunExportViews(TenantAdmin):
    """View of `RunAdmin` that exports the list. It takes the parameters of the list."""

    def export_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export_view)
        return [
            path(f"export.{kind}", view, {"kind": kind}, name=f"workflows_run_export_{kind}") for kind in CONTENT_TYPES
        ]

    @method_decorator(require_safe)
    def export_view(self, request: HttpRequest, kind: str) -> HttpResponseBase:
        """Send the runs. If a filter cannot be read, go to the list, which shows the error."""
        shown = self.get_changelist_instance(request)
        if shown.problems:
            return HttpResponseRedirect(f"{reverse('admin:workflows_run_changelist')}?{request.GET.urlencode()}")
        tenant_id = actor_of(request).tenant_id
        paths: list[SearchPath] = shown.form.paths
        chosen = request.GET.getlist(COLUMNS_VAR)
        if chosen:
            paths = [path for path in paths if path.name in chosen]
        fields = (*_fields(chosen), *(path.name for path in paths))
        rows = _exported(shown.queryset, tenant_id, rules_of(tenant_id), paths, fields)
        content = _csv(rows, fields) if kind == "csv" else _json(rows)
        response = StreamingHttpResponse(content, content_type=CONTENT_TYPES[kind])
        name = f"runs-{timezone.localtime():%Y%m%d-%H%M%S}.{kind}"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


def _fields(chosen: list[str]) -> tuple[str, ...]:
    """Return the fields of the chosen columns, or all fields if no column is chosen."""
    if not chosen:
        return FIELDS
    wanted = {*ALWAYS, *(field for column in chosen for field in COLUMN_FIELDS.get(column, ()))}
    return tuple(field for field in FIELDS if field in wanted)


def _exported(
    runs: QuerySet[Run], tenant_id: uuid.UUID, rules: Rules, paths: list[SearchPath], fields: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """Yield these fields of each run. A list of one definition also has the business data, as stored.

    The rows are read after the view has returned, so each read enters the scope of the tenant.
    """
    rest = runs.order_by("-created_at", "-id")
    while True:
        with tenant_scope(tenant_id):
            batch = list(rest[:BATCH])
            data = values_of_runs([run.id for run in batch], paths, tenant_id=tenant_id)
        for run in batch:
            values = _values(run, rules) | {path.name: data.get(run.id, {}).get(path.name, "") for path in paths}
            yield {field: values[field] for field in fields}
        if len(batch) < BATCH:
            return
        last = batch[-1]
        rest = runs.order_by("-created_at", "-id").filter(
            Q(created_at__lt=last.created_at) | Q(id__lt=last.id), created_at__lte=last.created_at
        )


def _values(run: Run, rules: Rules) -> dict[str, Any]:
    error = redact(run.error, rules, "/error") if isinstance(run.error, dict) else {}
    values = (
        str(run.id), run.definition_key, run.version, run.status, run.correlation_key, run.state, run.trigger_type,
        _time(run.created_at), _time(run.started_at), _time(run.ended_at),
        "" if run.took is None else run.took.total_seconds(), run.error_category, run.error_code,
        error.get("message", ""), step_title(run),
        run.failed_step_path or "", str(run.replay_of_id or ""),
    )  # fmt: skip
    return dict(zip(FIELDS, values, strict=True))


def _time(value: Any) -> str:
    return "" if value is None else value.isoformat()


def _csv(rows: Iterator[dict[str, Any]], fields: tuple[str, ...]) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.writer(line)
    yield "\ufeff"  # spreadsheets then read the file as UTF-8
    writer.writerow([_cell(name) for name in fields])
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])
        if line.tell() > 64_000:
            yield line.getvalue()
            line.seek(0)
            line.truncate()
    yield line.getvalue()


def _cell(value: Any) -> str:
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _json(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    yield "["
    for number, row in enumerate(rows):
        yield f"{',' if number else ''}\n{write_json(row, ensure_ascii=False)}"
    yield "\n]\n"
