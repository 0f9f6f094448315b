"""Audit log of sign-ins (docs/reference/sign-in.md#audit-log). Database triggers refuse changes of its rows."""

import pgtrigger
from django.db import models
from django.utils import timezone

from workflows.models.fields import new_id
from workflows.models.guard import truncation_refused
from workflows.sign_in_kinds import SignInKind, SignInMethod


class SignInRecord(models.Model):
    """One sign-in, failure, or change of the credentials of an account, for one tenant of the account.

    Each tenant of the account has its own row. A row without a tenant belongs to an account without a tenant, or to a
    name that no account has. Only superusers see rows without a tenant.

    `account_name` is empty for a name that no account has, because people type passwords into the field of the name.
    `unknown_mark` is then a keyed hash, so that repeated attempts with one name can be recognised.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(
        "workflows.Tenant", null=True, blank=True, on_delete=models.PROTECT, related_name="+", editable=False
    )
    at = models.DateTimeField(default=timezone.now)
    kind = models.CharField(max_length=30, choices=SignInKind.choices)
    method = models.CharField(max_length=20, choices=SignInMethod.choices, blank=True)
    account_id = models.BigIntegerField(null=True, blank=True)
    account_name = models.CharField(max_length=150, blank=True)
    unknown_mark = models.CharField(max_length=8, blank=True)
    by_name = models.CharField(max_length=150, blank=True, help_text="Person who changed the account of another one.")
    detail = models.CharField(max_length=300, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)

    class Meta:
        db_table = "sign_in_records"
        verbose_name_plural = "sign-ins"
        indexes = [
            models.Index(fields=["tenant", "-id"], name="sign_in_records_newest"),
            models.Index(fields=["tenant", "account_name", "-id"], name="sign_in_records_by_account"),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
            truncation_refused(),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.account_name}"
