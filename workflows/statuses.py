"""All statuses, kinds and outcomes. They are in one module, so that screens, filters and writers use the same words.

Source: docs/reference/projections.md#statuses, docs/reference/events.md#statuses-and-outcomes
"""

from enum import StrEnum

from django.db.models import TextChoices


class Role(TextChoices):
    VIEWER = "viewer", "Viewer"
    OPERATOR = "operator", "Operator"
    AUTHOR = "author", "Author"
    ADMIN = "admin", "Admin"


class Engine(TextChoices):
    TEMPORAL = "temporal", "Temporal"
    DB = "db", "Legacy (read-only)"


class RunStatus(TextChoices):
    STARTING = "STARTING", "Starting"
    RUNNING = "RUNNING", "Running"
    WAITING = "WAITING", "Waiting"
    SUCCEEDED = "SUCCEEDED", "Succeeded"
    FAILED = "FAILED", "Failed"
    CANCELED = "CANCELED", "Canceled"
    TERMINATED = "TERMINATED", "Terminated"
    TIMED_OUT = "TIMED_OUT", "Timed out"


OPEN_RUN_STATUSES = (RunStatus.STARTING, RunStatus.RUNNING, RunStatus.WAITING)
# Run status for each closed status of a Temporal workflow. While a workflow is running, its run has one of the open run
# statuses.
RUN_STATUS_OF_TEMPORAL = {
    "COMPLETED": RunStatus.SUCCEEDED,
    "FAILED": RunStatus.FAILED,
    "CANCELED": RunStatus.CANCELED,
    "TERMINATED": RunStatus.TERMINATED,
    "TIMED_OUT": RunStatus.TIMED_OUT,
}


class TriggerType(TextChoices):
    MANUAL = "manual", "Manual"
    EVENT = "event", "Event"
    SCHEDULE = "schedule", "Schedule"
    RECURRING = "recurring", "Recurring"
    CHILD = "child", "Child"
    REPLAY = "replay", "Replay"


class StepStatus(TextChoices):
    STARTED = "STARTED", "Started"
    SUCCEEDED = "SUCCEEDED", "Succeeded"
    FAILED = "FAILED", "Failed"
    RETRY_SCHEDULED = "RETRY_SCHEDULED", "Retry scheduled"
    CANCELED = "CANCELED", "Canceled"
    SKIPPED = "SKIPPED", "Skipped"


class WaitKind(TextChoices):
    EVENT = "event", "Event"
    TIME = "time", "Time"
    HUMAN = "human", "Human"
    RETRY = "retry", "Retry"
    QUOTA = "quota", "Quota"


class WaitStatus(TextChoices):
    WAITING = "WAITING", "Waiting"
    RESOLVED = "RESOLVED", "Resolved"
    TIMED_OUT = "TIMED_OUT", "Timed out"
    CANCELED = "CANCELED", "Canceled"


class InvocationStatus(TextChoices):
    STARTED = "STARTED", "Started"
    SUCCEEDED = "SUCCEEDED", "Succeeded"
    FAILED = "FAILED", "Failed"


class TaskStatus(TextChoices):
    PENDING = "pending", "Pending"
    CLAIMED = "claimed", "Claimed"
    COMPLETING = "completing", "Completing"
    COMPLETED = "completed", "Completed"
    CANCELED = "canceled", "Canceled"
    EXPIRED = "expired", "Expired"


OPEN_TASK_STATUSES = (TaskStatus.PENDING, TaskStatus.CLAIMED, TaskStatus.COMPLETING)


class CorrelationStatus(TextChoices):
    EXPLICIT = "explicit", "Explicit"
    DERIVED = "derived", "Derived"
    MISSING = "missing", "Missing"


class DeliveryKind(TextChoices):
    WAIT = "wait", "Wait"
    TRIGGER = "trigger", "Trigger"


class DeliveryStatus(TextChoices):
    PENDING = "pending", "Pending"
    SENT = "sent", "Sent"
    MATCHED = "matched", "Matched"
    FILTERED = "filtered", "Filtered"
    LATE = "late", "Late"
    STARTED = "started", "Started"
    SKIPPED = "skipped", "Skipped"
    DEAD = "dead", "Dead"
    DISCARDED = "discarded", "Discarded"


class EventOutcome(TextChoices):
    """Outcome of an event. `BUFFER_OVER` is never stored: it is shown for a buffered event after its buffer time."""

    RECEIVED = "received", "Received"
    ROUTING = "routing", "Routing"
    HELD = "held", "On hold"
    DELIVERED = "delivered", "Delivered"
    PARTLY_DELIVERED = "partly_delivered", "Partly delivered"
    BUFFERED = "buffered", "Buffered"
    BUFFER_OVER = "buffer_over", "Buffer time over"
    UNMATCHED = "unmatched", "Unmatched"
    UNCORRELATED = "uncorrelated", "Uncorrelated"
    REJECTED = "rejected", "Rejected"
    DEAD = "dead", "Dead"
    DISCARDED = "discarded", "Discarded"


class OutcomeCode(TextChoices):
    """Decision on an event. `event_decisions` has the sentence of each code."""

    NOT_ROUTED = "not_routed", "Not routed"
    ROUTING_FAILED = "routing_failed", "Routing failed"
    DELIVERING = "delivering", "Delivering"
    HELD = "held", "On hold"
    MATCHED = "matched", "Matched"
    STARTED = "started", "Started"
    PARTLY_DEAD = "partly_dead", "Partly dead"
    FILTERED = "filtered", "Filtered"
    RUN_UNKNOWN = "run_unknown", "Run unknown"
    WAIT_CLOSED = "wait_closed", "Wait closed"
    NOT_STARTED = "not_started", "Not started"
    NO_WAIT = "no_wait", "No wait"
    NO_KEY = "no_key", "No key"
    DEAD = "dead", "Dead"
    DISCARDED = "discarded", "Discarded"
    PAYLOAD_REJECTED = "payload_rejected", "Payload rejected"
    ID_CONFLICT = "id_conflict", "Id conflict"


class EventSource(TextChoices):
    REST = "rest", "REST API"
    CELERY = "celery", "Celery task"
    STREAM = "stream", "Redis stream"
    OUTBOX = "outbox", "Outbox"
    ADMIN = "admin", "Portal page"
    SCHEDULE = "schedule", "Schedule"


class CommandAction(TextChoices):
    """Actions that an operator or an API client can request. API filters and `details.action` use the values."""

    CANCEL = "cancel", "Cancel run"
    TERMINATE = "terminate", "Terminate run"
    REPLAY = "replay", "Replay run"
    RESUME = "resume", "Resume run"
    RETRY = "retry", "Retry run"
    REQUEUE_EVENT_WAIT = "requeue_event_wait", "Requeue event wait"
    START_RUN = "start_run", "Start run"
    SEND_EVENT = "send_event", "Send event"
    COMPLETE_TASK = "complete_task", "Complete task"
    CLAIM_TASK = "claim_task", "Claim task"
    RELEASE_TASK = "release_task", "Release task"
    ASSIGN_TASK = "assign_task", "Assign task"
    REDELIVER = "redeliver", "Redeliver"
    DISCARD = "discard", "Discard"
    PUBLISH = "publish", "Publish definition"
    IMPORT = "import", "Import bundle"
    EDIT_EVENT_TYPE = "edit_event_type", "Edit event type"
    EDIT_SCHEMA = "edit_schema", "Edit schema"
    EDIT_CONNECTOR = "edit_connector", "Edit connector"
    TEST_CONNECTOR = "test_connector", "Test connector"
    SAVE_SECRET = "save_secret", "Save secret"
    DELETE_SECRET = "delete_secret", "Delete secret"
    ROTATE_SECRETS = "rotate_secrets", "Rotate secrets"
    EDIT_REDACTION = "edit_redaction", "Edit redaction rules"
    BULK = "bulk", "Bulk job"
    REPAIR = "repair", "Repair projection"
    PAUSE = "pause", "Pause definition"
    UNPAUSE = "unpause", "Resume definition"
    CREATE_DEFINITION = "create_definition", "Create definition"
    EDIT_DEFINITION = "edit_definition", "Edit definition"
    ROLL_BACK = "roll_back", "Roll back definition"
    ARCHIVE = "archive", "Archive definition"
    UNARCHIVE = "unarchive", "Take definition out of the archive"
    DELETE_DEFINITION = "delete_definition", "Delete definition"
    EDIT_SCHEDULE = "edit_schedule", "Edit schedule"
    PAUSE_SCHEDULE = "pause_schedule", "Pause schedule"
    RESUME_SCHEDULE = "resume_schedule", "Resume schedule"
    TRIGGER_SCHEDULE = "trigger_schedule", "Trigger schedule now"
    BACKFILL_SCHEDULE = "backfill_schedule", "Backfill schedule"
    EDIT_CALENDAR = "edit_calendar", "Edit holiday calendar"
    EDIT_INCIDENT = "edit_incident", "Change incident"
    CREATE_TOKEN = "create_token", "Create token"
    ROTATE_TOKEN = "rotate_token", "Rotate token"
    REVOKE_TOKEN = "revoke_token", "Revoke token"
    SAVE_MEMBER = "save_member", "Save member"
    SAVE_IDENTITY_PROVIDER = "save_identity_provider", "Save identity provider"
    DELETE_IDENTITY_PROVIDER = "delete_identity_provider", "Delete identity provider"
    REMOVE_MEMBER = "remove_member", "Remove member"
    INVITE_MEMBER = "invite_member", "Invite member"
    RESEND_INVITATION = "resend_invitation", "Send invitation again"
    REVOKE_INVITATION = "revoke_invitation", "Revoke invitation"
    ACCEPT_INVITATION = "accept_invitation", "Accept invitation"
    CREATE_TENANT = "create_tenant", "Create tenant"
    EDIT_TENANT = "edit_tenant", "Edit tenant"
    START_MAINTENANCE = "start_maintenance", "Start maintenance"
    END_MAINTENANCE = "end_maintenance", "End maintenance"
    EXPORT_LEDGER = "export_ledger", "Export ledger"
    EDIT_VIEW = "edit_view", "Change saved view"
    EDIT_RETENTION = "edit_retention", "Change retention periods"
    HOLD_RUN = "hold_run", "Set legal hold"
    RELEASE_RUN = "release_run", "Release legal hold"
    PRUNE = "prune", "Delete old data"
    COMPARE = "compare", "Compare all with Temporal"


class CommandState(TextChoices):
    REQUESTED = "requested", "Requested"
    ACCEPTED = "accepted", "Accepted"
    OBSERVED = "observed", "Observed"
    REFUSED = "refused", "Refused"
    FAILED = "failed", "Failed"
    UNKNOWN = "unknown", "Unknown"


class BulkState(TextChoices):
    PREVIEW = "preview", "Preview"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    STOPPED = "stopped", "Stopped"
    DONE = "done", "Done"


class BulkItemState(TextChoices):
    PENDING = "pending", "Not requested yet"
    ACCEPTED = "accepted", "Requested"
    REFUSED = "refused", "Refused"
    FAILED = "failed", "Request failed"
    UNKNOWN = "unknown", "Unknown"
    INELIGIBLE = "ineligible", "Left out"
    STOPPED = "stopped", "Not requested"


class BulkOutcome(TextChoices):
    """Outcome of one run of a bulk job: the state of the new run of a replay, or of the run itself.

    `Accepted` is not an outcome, because the effect of an accepted request is not known yet. The lists show the items
    in the order of the members: the worst outcome first.
    """

    FAILED = "failed", "Failed"
    REFUSED = "refused", "Refused"
    UNKNOWN = "unknown", "Unknown"
    OPEN = "open", "Open"
    PENDING = "pending", "Not requested yet"
    NOT_REQUESTED = "not_requested", "Not requested"
    CANCELED = "canceled", "Canceled or terminated"
    ENDED = "ended", "Ended by itself"
    SUCCEEDED = "succeeded", "Succeeded"
    LEFT_OUT = "left_out", "Left out"


class ReplayVersion(TextChoices):
    """Version that a replay uses: the version of the original run, or the version that is published now."""

    PINNED = "pinned", "Version of the original run"
    PUBLISHED = "published", "Published version"


class CommandSource(TextChoices):
    ADMIN = "admin", "Portal page"
    API = "api", "API"
    CLI = "cli", "Command line"
    SYSTEM = "system", "System"


class LogLevel(TextChoices):
    DEBUG = "debug", "Debug"
    INFO = "info", "Info"
    WARNING = "warning", "Warning"
    ERROR = "error", "Error"


class IncidentState(TextChoices):
    NEW = "new", "New"
    OPEN = "open", "Open"
    SNOOZED = "snoozed", "Snoozed"
    RESOLVED = "resolved", "Resolved"
    REGRESSED = "regressed", "Regressed"
    CLOSED = "closed", "Closed"


ACTIVE_INCIDENT_STATES = (IncidentState.NEW, IncidentState.REGRESSED, IncidentState.OPEN)
"""States of the incidents that the list, the dashboard and the navigation show and count."""


class ScheduleKind(TextChoices):
    ONCE = "schedule", "Once"
    RECURRING = "recurring", "Recurring"


class DefinitionState(TextChoices):
    DRAFT = "draft", "Draft"
    PUBLISHED = "published", "Published"
    PAUSED = "paused", "Paused"
    ARCHIVED = "archived", "Archived"


class HeldChoice(TextChoices):
    """Choice for the held starts of a definition when an author resumes it."""

    START = "start", "Start them now"
    SKIP = "skip", "Skip them"


class ScheduleOrigin(TextChoices):
    """Source of a schedule's times: the trigger of the published version, or a member who added the schedule."""

    TRIGGER = "trigger", "Trigger of the definition"
    PORTAL = "portal", "Added in the portal"


class ScheduleOverlap(TextChoices):
    """Policy for a start while an earlier run of the schedule is open."""

    ALLOW_ALL = "allow_all", "Start it beside the earlier run"
    SKIP = "skip", "Skip it"
    BUFFER_ONE = "buffer_one", "Start it after the earlier run; skip it if another one waits already"
    BUFFER_ALL = "buffer_all", "Start it after the earlier runs, one after the other"


class OccurrenceCause(TextChoices):
    SCHEDULED = "scheduled", "Scheduled"
    TRIGGERED = "triggered", "Triggered by hand"
    BACKFILL = "backfill", "Backfill"


class OccurrenceStatus(TextChoices):
    ACCEPTED = "accepted", "Accepted"
    SKIPPED = "skipped", "Skipped"
    FAILED = "failed", "Failed"


class SchemaMode(TextChoices):
    PINNED = "pinned", "Pinned"
    LATEST = "latest", "Latest"
    INFERRED = "inferred", "Inferred from the trigger event"


class ReconcileOutcome(StrEnum):
    """Outcome of a comparison of one run with Temporal. Commands and logs print the values."""

    EQUAL = "equal"
    STARTED = "started"
    ENDED = "ended"
    REBUILT = "rebuilt"
    UNSTARTED_CHILD = "unstarted child"
    DRIFT = "drift"
    STILL_DRIFT = "still drift"
    # The rows agree with Temporal, but Temporal cannot move the run.
    STUCK = "stuck"
    WAITING = "waiting"
    LEGACY = "legacy"
    # Temporal has deleted the history, so the rows are not changed.
    GONE = "gone"
    UNREADABLE = "unreadable"
    BUSY = "busy"
    REFUSED = "refused"
    FAILED = "failed"
    # These two are counts of a sweep. They belong to no run that was compared.
    OUT_OF_TIME = "out of time"
    WITHOUT_ROW = "without row"


class ScheduleSync(StrEnum):
    """Outcome of a comparison of one schedule with Temporal. Commands and logs print the values."""

    EQUAL = "equal"
    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    # The schedule was changed or deleted directly in Temporal.
    RESTORED = "restored"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    # Counts of schedules that Temporal has and that no row describes.
    WITHOUT_ROW = "without row"
    OUT_OF_TIME = "out of time"
    FAILED = "failed"
