"""Command ledger: one row for each change that a person or an API client requests.

Database triggers protect the ledger. They refuse these changes:

- the deletion of a row, except by retention (`workflow_ledger_prune` in migration 0002)
- a change of the request in a row
- a change of the state that `TRANSITIONS` does not list

`requested` may become `observed` directly, because the run can record the effect before Temporal's response arrives.

Source: docs/reference/authority.md#command-ledger
"""

import pgtrigger
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.fields import OrderedJSONField, TenantRow
from workflows.models.guard import NOT_PRUNING, truncation_refused
from workflows.statuses import CommandAction, CommandSource, CommandState

TRANSITIONS = [
    ("requested", "accepted"),
    ("requested", "observed"),
    ("requested", "refused"),
    ("requested", "failed"),
    ("requested", "unknown"),
    ("unknown", "observed"),
    ("unknown", "failed"),
    ("accepted", "observed"),
    ("accepted", "failed"),
]
REQUEST_FIELDS = [
    "id", "tenant", "action", "target_type", "target_id", "run", "actor_type", "actor_id", "actor_name", "source",
    "reason", "idempotency_key", "request_hash", "payload", "parent", "requested_at",
]  # fmt: skip


class Command(TenantRow):
    """Request for a change, with its actor, reason and outcome."""

    action = models.CharField(max_length=40, choices=CommandAction.choices)
    target_type = models.CharField(max_length=40)
    target_id = models.CharField(max_length=200, blank=True)
    # The ledger is kept longer than runs. A row keeps the ids of its run and of its parent after these were deleted.
    run = models.ForeignKey(
        "workflows.Run",
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="commands",
    )
    actor_type = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=64, blank=True)
    actor_name = models.CharField(max_length=200)
    source = models.CharField(max_length=20, choices=CommandSource.choices)
    reason = models.TextField(blank=True)
    idempotency_key = models.CharField(max_length=200, blank=True)
    request_hash = models.CharField(max_length=64, blank=True)
    payload = models.JSONField(null=True, blank=True, help_text="Content of the request, redacted.")
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="items",
    )
    state = models.CharField(max_length=20, choices=CommandState.choices, default=CommandState.REQUESTED)
    code = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    details = OrderedJSONField(null=True, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="HTTP status of a refusal.")
    requested_at = models.DateTimeField(default=timezone.now)
    decided_at = models.DateTimeField(
        null=True, blank=True, help_text="Time since which the command is accepted, refused, failed or unknown."
    )
    observed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "workflow_commands"
        verbose_name_plural = "command ledger"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "actor_type", "actor_id", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="workflow_commands_idempotency",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-requested_at"], name="workflow_commands_newest"),
            models.Index(
                fields=["tenant", "-requested_at"], condition=Q(parent__isnull=True), name="workflow_commands_whole"
            ),
            models.Index(fields=["tenant", "target_id", "-requested_at"], name="workflow_commands_by_target"),
            models.Index(fields=["tenant", "actor_name", "-requested_at"], name="workflow_commands_by_actor"),
            models.Index(fields=["tenant", "action", "-requested_at"], name="workflow_commands_by_action"),
            models.Index(fields=["tenant", "state", "-requested_at"], name="workflow_commands_by_state"),
            models.Index(
                fields=["tenant", "run", "-requested_at"],
                condition=Q(run__isnull=False),
                name="workflow_commands_of_run",
            ),
            models.Index(
                fields=["tenant", "parent"], condition=Q(parent__isnull=False), name="workflow_commands_of_parent"
            ),
            # The index does not begin with the tenant, because the reconciler searches the rows of all tenants every
            # minute.
            models.Index(
                fields=["requested_at"],
                condition=Q(
                    state__in=[CommandState.REQUESTED.value, CommandState.UNKNOWN.value, CommandState.ACCEPTED.value]
                ),
                name="workflow_commands_undecided",
            ),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Delete, condition=NOT_PRUNING),
            truncation_refused(),
            pgtrigger.ReadOnly(name="request_is_fixed", fields=REQUEST_FIELDS),
            pgtrigger.FSM(name="state_moves_forward", field="state", transitions=TRANSITIONS),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_id} {self.state}"


class CommandEntry(TenantRow):
    """Entry of a tenant's audit chain: the content of a ledger row when it was inserted or updated.

    A database trigger writes the entry at commit (migration 0002). The application's role may only read the table.
    `hash` is the SHA-256 of the previous entry's hash followed by `content`. If an entry is changed, removed or added
    later, the hashes no longer match.
    """

    seq = models.BigIntegerField(help_text="Position in the tenant's chain, from 1, without gaps.")
    command = models.ForeignKey(Command, on_delete=models.PROTECT, related_name="entries")
    content = models.TextField()
    hash = models.CharField(max_length=64)
    written_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "workflow_command_entries"
        constraints = [models.UniqueConstraint(fields=["tenant", "seq"], name="workflow_command_entries_seq")]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update),
            pgtrigger.Protect(name="only_a_prefix", operation=pgtrigger.Delete, condition=NOT_PRUNING),
            truncation_refused(),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.hash[:12]}"
