"""The command ledger (docs/reference/authority.md#command-ledger): every click or API write that asks for a change, as one row.

The database keeps it append-only: no row is deleted, what was asked never changes, and the state moves only along the
arrows below. `observed` is reachable from `requested`, because the run may record the effect before the answer of Temporal
has come back.
"""

import pgtrigger
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.fields import OrderedJSONField, TenantRow
from workflows.models.guard import truncation_refused
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
ASKED = [
    "id", "tenant", "action", "target_type", "target_id", "run", "actor_type", "actor_id", "actor_name", "source", "reason",
    "idempotency_key", "request_hash", "payload", "parent", "requested_at",
]  # fmt: skip


class Command(TenantRow):
    action = models.CharField(max_length=40, choices=CommandAction.choices)
    target_type = models.CharField(max_length=40)
    target_id = models.CharField(max_length=200, blank=True)
    run = models.ForeignKey("workflows.Run", null=True, blank=True, on_delete=models.PROTECT, related_name="commands")
    actor_type = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=64, blank=True)
    actor_name = models.CharField(max_length=200)
    source = models.CharField(max_length=20, choices=CommandSource.choices)
    reason = models.TextField(blank=True)
    idempotency_key = models.CharField(max_length=200, blank=True)
    request_hash = models.CharField(max_length=64, blank=True)
    payload = models.JSONField(null=True, blank=True, help_text="What was asked for, redacted.")
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="items")
    state = models.CharField(max_length=20, choices=CommandState.choices, default=CommandState.REQUESTED)
    code = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    details = OrderedJSONField(null=True, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="What a refusal was answered with.")
    requested_at = models.DateTimeField(default=timezone.now)
    decided_at = models.DateTimeField(null=True, blank=True, help_text="Accepted, refused, failed, or unknown since.")
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
            models.Index(fields=["tenant", "target_id", "-requested_at"], name="workflow_commands_by_target"),
            # What the reconciler looks for among all tenants' rows, every minute.
            models.Index(
                fields=["requested_at"],
                condition=Q(
                    state__in=[CommandState.REQUESTED.value, CommandState.UNKNOWN.value, CommandState.ACCEPTED.value]
                ),
                name="workflow_commands_undecided",
            ),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Delete),
            truncation_refused(),
            pgtrigger.ReadOnly(name="asked_is_fixed", fields=ASKED),
            pgtrigger.FSM(name="state_moves_forward", field="state", transitions=TRANSITIONS),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_id} {self.state}"


class CommandEntry(TenantRow):
    """One link of a tenant's audit chain: what a ledger row said when it was written or changed.

    The database writes it, as the row is committed (migration 0005); the application's role may only read. `hash` is the
    SHA-256 of the hash before it and `content`, so that a link that was changed, taken out or put in later shows.
    """

    seq = models.BigIntegerField(help_text="Counts the tenant's links, from 1, without gaps.")
    command = models.ForeignKey(Command, on_delete=models.PROTECT, related_name="entries")
    content = models.TextField()
    hash = models.CharField(max_length=64)
    written_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "workflow_command_entries"
        constraints = [models.UniqueConstraint(fields=["tenant", "seq"], name="workflow_command_entries_seq")]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
            truncation_refused(),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.hash[:12]}"
