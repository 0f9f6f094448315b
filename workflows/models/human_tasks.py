"""Human tasks (docs/reference/engine.md#human-tasks)."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.models.fields import OrderedJSONField, TenantRow
from workflows.statuses import OPEN_TASK_STATUSES, TaskStatus


class HumanTask(TenantRow):
    """Task that a person must complete before the run continues. The task has the id of its wait."""

    run = models.ForeignKey("workflows.Run", on_delete=models.PROTECT, related_name="tasks")
    wait = models.ForeignKey("workflows.RunWait", null=True, blank=True, on_delete=models.PROTECT, related_name="tasks")
    step_path = models.CharField(max_length=500)
    iteration = models.CharField(max_length=200, blank=True)
    step_id = models.CharField(max_length=200, blank=True)
    task_type = models.CharField(max_length=200)
    title = models.CharField(max_length=500)
    description = models.TextField(blank=True)
    context_data = OrderedJSONField(default=dict, blank=True)
    form_schema = OrderedJSONField(null=True, blank=True)
    assigned_users = models.JSONField(default=list, blank=True)
    assigned_roles = models.JSONField(default=list, blank=True)
    status = models.CharField(max_length=20, choices=TaskStatus.choices, default=TaskStatus.PENDING)
    complete_on_event = models.CharField(max_length=200, blank=True)
    allow_system_completion = models.BooleanField(
        default=True, help_text="False if events of the system actor may not complete the task."
    )
    correlation_key = models.CharField(max_length=1000, blank=True)
    claimed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    claimed_at = models.DateTimeField(null=True, blank=True)
    completing_at = models.DateTimeField(
        null=True, blank=True, help_text="Time at which the response was sent to Temporal."
    )
    due_at = models.DateTimeField(null=True, blank=True)
    completed_by_name = models.CharField(max_length=200, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    response = OrderedJSONField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "workflow_tasks"
        indexes = [
            models.Index(fields=["tenant", "status", "due_at"], name="workflow_tasks_inbox"),
            models.Index(fields=["tenant", "run"], name="workflow_tasks_of_run"),
            # The inbox: open tasks by due time, and closed tasks, newest first.
            models.Index(
                fields=["tenant", "due_at", "id"],
                condition=models.Q(status__in=[s.value for s in OPEN_TASK_STATUSES]),
                name="workflow_tasks_by_due",
            ),
            # The tasks of one member, and the unclaimed ones.
            models.Index(
                fields=["tenant", "claimed_by", "due_at", "id"],
                condition=models.Q(status__in=[s.value for s in OPEN_TASK_STATUSES]),
                name="workflow_tasks_by_claim",
            ),
            models.Index(fields=["tenant", "-created_at"], name="workflow_tasks_newest"),
            # Index for open decisions about unknown outcomes. The dashboard uses it, and so does the sweep over all
            # tenants.
            models.Index(
                fields=["tenant"],
                condition=models.Q(task_type=DECIDE_OUTCOME, status__in=[s.value for s in OPEN_TASK_STATUSES]),
                name="workflow_tasks_decisions",
            ),
        ]

    def __str__(self) -> str:
        return self.title


class TaskDraft(TenantRow):
    """Draft of a response: the texts that one member has typed and not sent yet. Only this member sees the draft."""

    task = models.ForeignKey(HumanTask, on_delete=models.CASCADE, related_name="drafts")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    typed = models.JSONField(default=dict, help_text="Lists of texts by the name of the field in the form.")
    saved_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "workflow_task_drafts"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "task", "user"], name="workflow_task_drafts_one_of_member")
        ]

    def __str__(self) -> str:
        return f"draft of {self.task_id}"
