"""Screens of the command ledger and of the member's notifications. They are read-only."""

import uuid
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import escape, format_html, format_html_join
from django.views.decorators.http import require_safe
from unfold.decorators import display

from workflows.admin.base import ROW_LIST, TenantAdmin, actor_of
from workflows.admin.ledger_export import export_page
from workflows.admin.ledger_list import ledger_list
from workflows.admin.ledger_rows import ledger_rows
from workflows.admin.live import live_page
from workflows.models import Command, Notification
from workflows.models.fields import short_id
from workflows.redaction import redact, rules_of
from workflows.selectors.pruned_runs import deleted_among
from workflows.selectors.versions import ledger_version
from workflows.templatetags.pointsman import ago
from workflows.templatetags.run_page import code_json


@admin.register(Command)
class CommandAdmin(TenantAdmin):
    change_form_template = "portal/command_page.html"
    fields = ("state",)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(lambda request: export_page(request, self))
        return [path("export/", view, name="workflows_command_export"), *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **more: Any
    ) -> HttpResponse:
        """Show one command with its target. Only members who may see payloads see the request and the details."""
        command: Command = more["obj"]
        sees = actor_of(request).sees_payloads
        row = ledger_rows([command], tenant_id=command.tenant_id, rules=rules_of(command.tenant_id))[0]
        context.update(
            title=row.name,
            row=row,
            command=command,
            run=self.run_shown(command),
            parent=self.parent_shown(command),
            payload=self._shown(command, command.payload) if sees else "",
            details=self._shown(command, command.details) if sees else "",
        )
        return super().render_change_form(request, context, *args, **more)

    def run_shown(self, command: Command) -> str:
        """Return a link to the run. The ledger is kept longer than the run."""
        if command.run_id is None:
            return ""
        deleted = deleted_among([command.run_id], tenant_id=command.tenant_id)
        note = " (deleted by the retention policy)" if deleted else ""
        return format_html("{}{}", _run_link(command.run_id), note)

    def parent_shown(self, command: Command) -> str:
        if command.parent_id is None:
            return ""
        url = reverse("admin:workflows_command_change", args=[command.parent_id])
        return format_html('<a href="{}">{}</a>', url, command.parent_id)

    def _shown(self, command: Command, value: Any) -> str:
        """Redact the stored value again, because the tenant's rules may have changed since then."""
        if value is None:
            return ""
        return format_html('<pre class="code">{}</pre>', code_json(redact(value, rules_of(command.tenant_id))))

    @method_decorator(require_safe)
    @live_page(ledger_version)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return ledger_list(request, self)


def _run_link(run_id: uuid.UUID) -> str:
    url = reverse("admin:workflows_run_change", args=[run_id])
    return format_html('<a href="{}">run {}</a>', url, short_id(run_id))


@admin.register(Notification)
class NotificationAdmin(TenantAdmin):
    list_display = ("title", "severity_label", "body", "created_label", "run_link", "owner_label")
    change_list_template = ROW_LIST
    list_about = "Messages of the portal and of your runs to you. Only you see them."
    list_empty = "You have no message. A definition, a bulk job or an auto-pause can send you one."
    fields = ("severity_label", "body", "link", "created_label", "run_link", "owner_label")
    readonly_fields = ("severity_label", "created_label", "run_link", "owner_label")
    list_select_related = ("run__definition",)
    ordering = ("-created_at",)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "My notifications", **(extra_context or {})})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notification]:
        return super().get_queryset(request).filter(user=request.user)

    @display(description="Kind", label={"info": "info", "success": "success", "warning": "warning", "error": "danger"})
    def severity_label(self, notification: Notification) -> str:
        return notification.severity

    @display(description="Created", ordering="created_at")
    def created_label(self, notification: Notification) -> str:
        return ago(notification.created_at)

    @display(description="Run")
    def run_link(self, notification: Notification) -> str:
        if notification.run_id is None:
            return ""
        url = reverse("admin:workflows_run_change", args=[notification.run_id])
        return format_html('<a href="{}">open</a>', url)

    @display(description="Owner of the definition")
    def owner_label(self, notification: Notification) -> str:
        """Return the owner, the contact and the runbook of the definition whose run wrote the notification."""
        if notification.run is None:
            return ""
        definition = notification.run.definition
        shown = [escape(text) for text in (definition.owner, definition.contact) if text]
        if definition.runbook_url:
            shown.append(format_html('<a href="{}">runbook</a>', definition.runbook_url))
        return format_html_join(", ", "{}", ((part,) for part in shown))
