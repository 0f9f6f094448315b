"""Actions of the run list. Each action freezes the selected runs in a bulk job and shows its preview."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.errors import PortalError
from workflows.models import Run
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.bulk.preview import bulk_preview
from workflows.statuses import CommandAction


class RunBulkActions(TenantAdmin):
    """Actions of `RunAdmin`. They create a bulk job and send no request. The page of the job starts it."""

    def _may(self, request: HttpRequest, action: CommandAction) -> bool:
        return actor_of(request).has_role(BULK_ACTIONS[action].needs)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return self._may(request, CommandAction.CANCEL)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return self._may(request, CommandAction.REPLAY)

    def has_terminate_permission(self, request: HttpRequest) -> bool:
        return self._may(request, CommandAction.TERMINATE)

    @admin.action(description="Cancel through Temporal…", permissions=["cancel"])
    def cancel_runs(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        return self._preview(request, queryset, CommandAction.CANCEL)

    @admin.action(description="Replay…", permissions=["replay"])
    def replay_runs(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        return self._preview(request, queryset, CommandAction.REPLAY)

    @admin.action(description="Terminate…", permissions=["terminate"])
    def terminate_runs(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        return self._preview(request, queryset, CommandAction.TERMINATE)

    def _preview(self, request: HttpRequest, queryset: QuerySet[Run], action: CommandAction) -> HttpResponse | None:
        if request.POST.get("select_across") == "1":
            chosen: dict[str, Any] = {"runs": queryset, "selection": {"list": dict(request.GET.lists())}}
        else:
            chosen = {"ids": list(queryset.order_by("created_at", "id").values_list("id", flat=True))}
        try:
            job = bulk_preview(actor=actor_of(request), action=action, **chosen)
        except PortalError as error:
            self.message_user(request, error_text(error), messages.ERROR)
            return None
        return HttpResponseRedirect(reverse("admin:workflows_bulkjob_change", args=[job.id]))
