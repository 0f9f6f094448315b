from workflows.models.actions import ActionInvocation, Notification
from workflows.models.bulk import BulkItem, BulkJob
from workflows.models.catalogue import EventType, PayloadSchema
from workflows.models.commands import Command, CommandEntry
from workflows.models.connectors import Connector
from workflows.models.definitions import Definition, DefinitionVersion
from workflows.models.events import Event, EventDelivery, EventKey, OutboxEvent
from workflows.models.human_tasks import HumanTask, TaskDraft
from workflows.models.incidents import Incident, IncidentCursor, IncidentFailure, IncidentHour, IncidentNote
from workflows.models.retention import LedgerCheckpoint, PrunedRun, RunHold
from workflows.models.run_values import RunValue
from workflows.models.runs import Run, RunLog, RunStep, RunWait
from workflows.models.saved_views import SavedView
from workflows.models.schedules import HolidayCalendar, Schedule, ScheduleOccurrence
from workflows.models.sign_in import IdentityProvider, SignInRecord
from workflows.models.step_counts import StepCount
from workflows.models.storage import DataStoreEntry, Secret
from workflows.models.tenants import ApiToken, Invitation, PortalMaintenance, Tenant, TenantMembership

__all__ = [
    "ActionInvocation",
    "ApiToken",
    "BulkItem",
    "BulkJob",
    "Command",
    "CommandEntry",
    "Connector",
    "DataStoreEntry",
    "Definition",
    "DefinitionVersion",
    "Event",
    "EventDelivery",
    "EventKey",
    "EventType",
    "HolidayCalendar",
    "HumanTask",
    "IdentityProvider",
    "Incident",
    "IncidentCursor",
    "IncidentFailure",
    "IncidentHour",
    "IncidentNote",
    "Invitation",
    "LedgerCheckpoint",
    "Notification",
    "OutboxEvent",
    "PayloadSchema",
    "PortalMaintenance",
    "PrunedRun",
    "Run",
    "RunHold",
    "RunLog",
    "RunStep",
    "RunValue",
    "RunWait",
    "SavedView",
    "Schedule",
    "ScheduleOccurrence",
    "Secret",
    "SignInRecord",
    "StepCount",
    "TaskDraft",
    "Tenant",
    "TenantMembership",
]
