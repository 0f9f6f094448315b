"""Screens of bulk jobs: the list, and the page of one job. The page shows the preview first and the progress later."""

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from workflows import status_colours
from workflows.admin.base import actor_of
from workflows.admin.bulk_steps import BulkStepViews, why_not
from workflows.admin.forms import ReasonForm, RequiredReasonForm
from workflows.admin.live import live_page
from workflows.errors import unknown_name
from workflows.models import BulkJob
from workflows.selectors.versions import bulk_job_version
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.bulk.freeze import INELIGIBLE_REASONS
from workflows.services.bulk.jobs import bulk_failures
from workflows.services.bulk.selection import selection_in_words
from workflows.services.bulk.selectors import bulk_commands, bulk_counts, bulk_items, bulk_pause_reason, bulk_split
from workflows.services.runs.replay_checks import replay_results, replay_warnings
from workflows.statuses import BulkItemState, BulkState, CommandAction
from workflows.templatetags.pointsman import duration, duration_between, moment, nowrap

SHOWN_ITEMS = 100


@admin.register(BulkJob)
class BulkJobAdmin(BulkStepViews):
    list_display = ("state_label", "action_label", "items_label", "reason", "requester", "created_label", "took")
    list_display_links = ("state_label", "action_label")
    list_filter = (("state", ChoicesDropdownFilter),)
    list_filter_submit = True
    ordering = ("-created_at",)
    list_select_related = ("command",)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Bulk jobs", **(extra_context or {})})

    @display(description="State", ordering="state", label=status_colours.BULK)
    def state_label(self, job: BulkJob) -> tuple[str, str]:
        return job.state, job.get_state_display()

    @display(description="Action")
    def action_label(self, job: BulkJob) -> str:
        return nowrap(f"{job.action} {job.total} run{'' if job.total == 1 else 's'}")

    @display(description="Items")
    def items_label(self, job: BulkJob) -> str:
        """Return the number of items per state for a job that has ended.

        The page of an open job shows the numbers itself.
        """
        counts = (job.command.details or {}).get("counts", {}) if job.command and job.ended_at else {}
        return ", ".join(f"{number} {state}" for state, number in counts.items() if number)

    @display(description="Requested by", ordering="actor_name")
    def requester(self, job: BulkJob) -> str:
        return job.actor_name

    @display(description="Created", ordering="created_at")
    def created_label(self, job: BulkJob) -> str:
        return moment(job.created_at)

    @display(description="Took")
    def took(self, job: BulkJob) -> str:
        return nowrap(duration_between(job.started_at, job.ended_at))

    @method_decorator(require_safe)
    @live_page(bulk_job_version)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        job = self.get_object(request, object_id)
        if job is None:
            raise Http404(f"There is no bulk job {object_id}.")
        counts = bulk_counts(job)
        is_preview = job.state == BulkState.PREVIEW
        context = self.page_context(
            request,
            f"{job.action.title()} {job.total} run{'' if job.total == 1 else 's'}",
            job=job,
            chosen_by=selection_in_words(job),
            counts=counts,
            eligible=job.total - counts[BulkItemState.INELIGIBLE],
            decided=job.total - counts[BulkItemState.PENDING],
            is_live=job.ended_at is None and not is_preview,
            time_needed=duration(counts[BulkItemState.PENDING] / job.rate_per_second),
            why_not=why_not(job, actor_of(request)),
            **(self._preview(job) if is_preview else self._progress(request, job, counts)),
        )
        return TemplateResponse(request, "portal/bulk_job.html", context, status=400 if context.get("problem") else 200)

    def _preview(self, job: BulkJob) -> dict[str, Any]:
        form = RequiredReasonForm if BULK_ACTIONS[job.action].needs_reason else ReasonForm
        split = bulk_split(job)
        ineligible = [
            {"code": code, "why": INELIGIBLE_REASONS[code], "count": count}
            for code, count in split["ineligible"].items()
        ]
        return {
            "form": form(initial={"reason": job.reason}),
            "by_status": split["by_status"],
            "warnings": replay_warnings(job) if job.action == CommandAction.REPLAY else [],
            "ineligible": ineligible,
            "samples": bulk_items(tenant_id=job.tenant_id, job_id=job.id, state=BulkItemState.PENDING)[:10],
        }

    def _progress(self, request: HttpRequest, job: BulkJob, counts: dict[str, int]) -> dict[str, Any]:
        chosen = request.GET.get("state", "")
        chips = [
            {
                "label": state.label,
                "value": state.value,
                "count": counts[state],
                "type": status_colours.BULK_ITEM[state],
                "is_chosen": chosen == state.value,
            }
            for state in BulkItemState
        ]
        after = request.GET.get("after", "")
        problem = _page_problem(chosen, after)
        rows = bulk_items(tenant_id=job.tenant_id, job_id=job.id, **({"state": chosen} if chosen else {}))
        rows = rows.none() if problem else rows.filter(position__gt=int(after or 0))
        page = list(rows.select_related("command")[: SHOWN_ITEMS + 1])
        new_runs = replay_results(page[:SHOWN_ITEMS]) if job.action == CommandAction.REPLAY else {}
        return {
            "chips": chips,
            "problem": problem,
            "is_all": not chosen,
            "state": chosen,
            "rows": [(item, new_runs.get(item.id)) for item in page[:SHOWN_ITEMS]],
            "is_replay": job.action == CommandAction.REPLAY,
            "is_first": not after,
            "next_after": page[SHOWN_ITEMS - 1].position if len(page) > SHOWN_ITEMS else None,
            "has_failures": bulk_failures(job).exists(),
            "pause_reason": bulk_pause_reason(job),
            "commands": bulk_commands(job),
        }


def _page_problem(state: str, after: str) -> str:
    """Return the reason why the page of results cannot be shown, or an empty text."""
    if state and state not in BulkItemState.values:
        return unknown_name(state, BulkItemState.values, kind="result")
    if after and not (after.isascii() and after.isdecimal() and len(after) <= 9):
        return "The position in the list must be a whole number."
    return ""
