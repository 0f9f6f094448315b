"""Actions of the run list. Each action freezes the selected runs in a bulk job and shows its preview."""

import hashlib
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import AllRunsForm
from workflows.admin.list_filters import chosen_filters
from workflows.errors import PortalError
from workflows.models import Run
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.bulk.preview import bulk_preview
from workflows.statuses import CommandAction, ReplayVersion

# The idempotency key is not in this list, because the page that asks for all runs has its own key.
RESENT_FIELDS = frozenset({"action", "select_across", "index", "_selected_action"})


class RunBulkActions(TenantAdmin):
    """Actions of `RunAdmin`. An action creates a bulk job and sends no request to a run.

    A person starts the job on its page.
    """

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
            filters = chosen_filters(request, self.get_changelist_instance(request).form.names)
            chosen: dict[str, Any] = {
                "runs": queryset,
                "selection": {"list": filters},
                "all_runs": not filters and request.POST.get("all_runs") == "on",
            }
        else:
            chosen = {"ids": list(queryset.order_by("created_at", "id").values_list("id", flat=True))}
        try:
            job = once(
                lambda: bulk_preview(
                    actor=actor_of(request),
                    action=action,
                    replay_version=ReplayVersion.PUBLISHED if action == CommandAction.REPLAY else ReplayVersion.PINNED,
                    idempotency_key=_key_of(request, action),
                    **chosen,
                )
            )
            assert job is not None, "a preview returns its job also for a repeat"
        except PortalError as error:
            if error.code == "BULK_ALL_RUNS":
                return self._ask_for_all(request, action, error)
            self.message_user(request, error_text(error), messages.ERROR)
            return None
        return HttpResponseRedirect(reverse("admin:workflows_bulkjob_change", args=[job.id]))

    def _ask_for_all(self, request: HttpRequest, action: CommandAction, error: PortalError) -> HttpResponse:
        """Show the page on which the operator chooses all runs. It sends the form of the list again."""
        hidden = {name: values for name, values in request.POST.lists() if name in RESENT_FIELDS}
        form = AllRunsForm(request.POST if "is_confirmation" in request.POST else None)
        context = self.page_context(
            request,
            f"{action.title()} all runs?",
            form=form,
            hidden={**hidden, "is_confirmation": ["1"]},
            back=reverse("admin:workflows_run_changelist"),
            button="Show the preview",
            note=f"{error.message} The next page shows the preview. No run gets a request before you start the job.",
        )
        return TemplateResponse(request, "portal/form_page.html", context)


def _key_of(request: HttpRequest, action: CommandAction) -> str:
    """Return the idempotency key for this action and selection.

    A page of the list has one key. So the page can create one job for each action and selection.
    """
    key = key_of(request)
    chosen = sorted([*request.POST.getlist("_selected_action"), request.POST.get("select_across", ""), str(action)])
    digest = hashlib.sha256("\n".join([*chosen, request.POST.get("all_runs", "")]).encode()).hexdigest()
    return f"{key}:{digest[:40]}" if key else ""
