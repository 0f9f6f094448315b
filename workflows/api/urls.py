"""URLs of the API, except those of events."""

from django.urls import path, register_converter

from workflows.api import (
    action_views,
    bulk_views,
    bundle_views,
    calendar_views,
    definition_edit_views,
    definition_views,
    expression_views,
    identity_provider_views,
    incident_views,
    invitation_views,
    language_views,
    member_views,
    payload_schema_views,
    retention_views,
    schedule_views,
    secret_views,
    sign_in_views,
    task_views,
    tenant_views,
    token_views,
    verify_views,
    views,
)
from workflows.api.converters import NameConverter
from workflows.services.bulk.jobs import BULK_STEPS
from workflows.statuses import CommandAction

register_converter(NameConverter, "name")

urlpatterns = [
    path("runs", views.RunList.as_view(), name="runs"),
    path("runs/<uuid:pk>", views.RunDetail.as_view(), name="run"),
    path("runs/<uuid:pk>/steps", views.RunSteps.as_view(), name="run-steps"),
    path("runs/<uuid:pk>/waits", views.RunWaits.as_view(), name="run-waits"),
    path("runs/<uuid:pk>/logs", views.RunLogs.as_view(), name="run-logs"),
    path("runs/<uuid:pk>/invocations", views.RunInvocations.as_view(), name="run-invocations"),
    path("runs/<uuid:pk>/cancel", views.RunCancel.as_view(), name="run-cancel"),
    path("runs/<uuid:pk>/terminate", views.RunTerminate.as_view(), name="run-terminate"),
    path("runs/<uuid:pk>/replay", views.RunReplay.as_view(), name="run-replay"),
    path("runs/<uuid:pk>/hold", views.RunHoldView.as_view(), name="run-hold"),
    path("runs/<uuid:pk>/release", views.RunReleaseView.as_view(), name="run-release"),
    path("runs/<uuid:pk>/verify", verify_views.RunVerify.as_view(), name="run-verify"),
    path("runs/<uuid:pk>/resume", views.RunUnsupported.as_view(action=CommandAction.RESUME), name="run-resume"),
    path("runs/<uuid:pk>/retry", views.RunUnsupported.as_view(action=CommandAction.RETRY), name="run-retry"),
    path(
        "runs/<uuid:pk>/requeue-event-wait",
        views.RunUnsupported.as_view(action=CommandAction.REQUEUE_EVENT_WAIT),
        name="run-requeue-event-wait",
    ),
    path("tasks", task_views.TaskList.as_view(), name="tasks"),
    path("tasks/<uuid:pk>", task_views.TaskDetail.as_view(), name="task"),
    path("tasks/<uuid:pk>/complete", task_views.TaskComplete.as_view(), name="task-complete"),
    path("tasks/<uuid:pk>/draft", task_views.TaskDraftDetail.as_view(), name="task-draft"),
    path("tasks/<uuid:pk>/claim", task_views.TaskClaim.as_view(), name="task-claim"),
    path("tasks/<uuid:pk>/release", task_views.TaskRelease.as_view(), name="task-release"),
    path("tasks/<uuid:pk>/assign", task_views.TaskAssign.as_view(), name="task-assign"),
    path("bulk", bulk_views.BulkJobList.as_view(), name="bulk-jobs"),
    path("bulk/<uuid:pk>", bulk_views.BulkJobDetail.as_view(), name="bulk-job"),
    path("bulk/<uuid:pk>/items", bulk_views.BulkItemList.as_view(), name="bulk-items"),
    path("bulk/<uuid:pk>/start", bulk_views.BulkStart.as_view(), name="bulk-start"),
    *(
        path(f"bulk/<uuid:pk>/{name}", bulk_views.BulkStep.as_view(step=step), name=f"bulk-{name}")
        for name, step in BULK_STEPS.items()
        if name != "start"
    ),
    path("incidents", incident_views.IncidentList.as_view(), name="incidents"),
    path("incidents/<uuid:pk>", incident_views.IncidentDetail.as_view(), name="incident"),
    *(
        path(f"incidents/<uuid:pk>/{name}", view.as_view(), name=f"incident-{name}")
        for name, view in incident_views.INCIDENT_STEPS.items()
    ),
    path("bundles/export", bundle_views.BundleExport.as_view(), name="bundle-export"),
    path("bundles/import", bundle_views.BundleImport.as_view(), name="bundle-import"),
    path("commands", views.CommandList.as_view(), name="commands"),
    path("commands/<uuid:pk>", views.CommandDetail.as_view(), name="command"),
    path("definitions", definition_edit_views.DefinitionList.as_view(), name="definitions"),
    path("definitions/<name:key>", definition_edit_views.DefinitionDetail.as_view(), name="definition"),
    path("definitions/<name:key>/versions", definition_views.DefinitionVersions.as_view(), name="definition-versions"),
    path(
        "definitions/<name:key>/held-starts",
        definition_views.DefinitionHeldStarts.as_view(),
        name="definition-held-starts",
    ),
    path("definitions/<name:key>/draft", definition_edit_views.DefinitionDraft.as_view(), name="definition-draft"),
    path(
        "definitions/<name:key>/validate",
        definition_edit_views.DefinitionValidate.as_view(),
        name="definition-validate",
    ),
    path(
        "definitions/<name:key>/publish", definition_edit_views.DefinitionPublish.as_view(), name="definition-publish"
    ),
    path(
        "definitions/<name:key>/rollback",
        definition_edit_views.DefinitionRollBack.as_view(),
        name="definition-rollback",
    ),
    path("definitions/<name:key>/archive", definition_views.DefinitionArchive.as_view(), name="definition-archive"),
    path(
        "definitions/<name:key>/unarchive", definition_views.DefinitionUnarchive.as_view(), name="definition-unarchive"
    ),
    path("expressions/evaluate", expression_views.ExpressionEvaluate.as_view(), name="expression-evaluate"),
    path("language/schema", language_views.LanguageSchema.as_view(), name="language-schema"),
    path("language/validate", language_views.LanguageValidate.as_view(), name="language-validate"),
    path("definition-examples", definition_edit_views.ExampleList.as_view(), name="definition-examples"),
    path("definitions/<name:key>/pause", definition_views.DefinitionPause.as_view(), name="definition-pause"),
    path("definitions/<name:key>/resume", definition_views.DefinitionResume.as_view(), name="definition-resume"),
    path("schedules", schedule_views.ScheduleList.as_view(), name="schedules"),
    path("schedules/preview", schedule_views.SchedulePreview.as_view(), name="schedule-preview"),
    path("schedules/<uuid:pk>", schedule_views.ScheduleDetail.as_view(), name="schedule"),
    path("schedules/<uuid:pk>/occurrences", schedule_views.ScheduleOccurrences.as_view(), name="schedule-occurrences"),
    path("schedules/<uuid:pk>/pause", schedule_views.ScheduleStep.as_view(), name="schedule-pause"),
    path(
        "schedules/<uuid:pk>/resume",
        schedule_views.ScheduleStep.as_view(action=CommandAction.RESUME_SCHEDULE),
        name="schedule-resume",
    ),
    path("schedules/<uuid:pk>/trigger", schedule_views.ScheduleTrigger.as_view(), name="schedule-trigger"),
    path("schedules/<uuid:pk>/backfill", schedule_views.ScheduleBackfill.as_view(), name="schedule-backfill"),
    path("holiday-calendars", calendar_views.CalendarList.as_view(), name="holiday-calendars"),
    path("holiday-calendars/<uuid:pk>", calendar_views.CalendarDetail.as_view(), name="holiday-calendar"),
    path("actions", action_views.ActionList.as_view(), name="actions"),
    path("actions/<name:action_id>/<int:version>", action_views.ActionDetail.as_view(), name="action"),
    path("connectors", action_views.ConnectorList.as_view(), name="connectors"),
    path("connectors/<name:action_id>/<int:version>", action_views.ConnectorDetail.as_view(), name="connector"),
    path("connectors/<name:action_id>/<int:version>/test", action_views.ConnectorTest.as_view(), name="connector-test"),
    path("schemas", payload_schema_views.PayloadSchemaList.as_view(), name="schemas"),
    path("schemas/<name:ref>", payload_schema_views.PayloadSchemaDetail.as_view(), name="payload-schema"),
    path("schemas/<name:ref>/check", payload_schema_views.PayloadSchemaCheck.as_view(), name="payload-schema-check"),
    path("retention", retention_views.Retention.as_view(), name="retention"),
    path("redaction-rules", secret_views.RedactionRules.as_view(), name="redaction-rules"),
    path("identity-providers", identity_provider_views.IdentityProviderList.as_view(), name="identity-providers"),
    path(
        "identity-providers/<name:name>",
        identity_provider_views.IdentityProviderDetail.as_view(),
        name="identity-provider",
    ),
    path("sign-in-rules", sign_in_views.SignInRules.as_view(), name="sign-in-rules"),
    path("sign-ins", sign_in_views.SignInList.as_view(), name="sign-ins"),
    path("members", member_views.MemberList.as_view(), name="members"),
    path("members/<name:username>", member_views.MemberDetail.as_view(), name="member"),
    path("invitations", invitation_views.InvitationList.as_view(), name="invitations"),
    path("invitations/<uuid:pk>/resend", invitation_views.InvitationResend.as_view(), name="invitation-resend"),
    path("invitations/<uuid:pk>/revoke", invitation_views.InvitationRevoke.as_view(), name="invitation-revoke"),
    path("tenants", tenant_views.TenantList.as_view(), name="tenants"),
    path("tenants/<slug:slug>", tenant_views.TenantDetail.as_view(), name="tenant"),
    path("tenants/<slug:slug>/maintenance", tenant_views.TenantMaintenance.as_view(), name="tenant-maintenance"),
    path("maintenance", tenant_views.WholePortalMaintenance.as_view(), name="maintenance"),
    path("tokens", token_views.TokenList.as_view(), name="tokens"),
    path("tokens/<uuid:pk>/rotate", token_views.TokenRotate.as_view(), name="token-rotate"),
    path("tokens/<uuid:pk>/revoke", token_views.TokenRevoke.as_view(), name="token-revoke"),
    path("secrets", secret_views.SecretList.as_view(), name="secrets"),
    path("secrets/<name:name>", secret_views.SecretDetail.as_view(), name="secret"),
]
