"""Audit log of sign-ins, and identity providers of tenants (docs/reference/sign-in.md)."""

import uuid

import pgtrigger
from django.db import models
from django.utils import timezone

from workflows.models.fields import TenantRow, new_id
from workflows.models.guard import NOT_PRUNING, truncation_refused
from workflows.sign_in_kinds import SignInKind, SignInMethod


class SignInRecord(models.Model):
    """One sign-in, failure, or change of the credentials of an account, for one tenant of the account.

    Database triggers refuse changes of rows. Each tenant of the account has its own row. A row without a tenant belongs
    to an account without a tenant, or to a name that no account has. Only superusers see rows without a tenant.

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
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update),
            pgtrigger.Protect(name="only_old", operation=pgtrigger.Delete, condition=NOT_PRUNING),
            truncation_refused(),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.account_name}"


def provider_id(tenant_id: uuid.UUID, issuer: str) -> uuid.UUID:
    """Return the id of a provider. A provider that is deleted and created again keeps its accounts."""
    return uuid.uuid5(tenant_id, issuer)


class IdentityProvider(TenantRow):
    """OpenID Connect provider of a tenant. Its id depends on the tenant and the issuer.

    An account is linked by this id and the subject of the provider, never by an e-mail address.
    """

    name = models.CharField(max_length=63, help_text="Short name. It is part of the address in the API.")
    sign_in_name = models.CharField(max_length=63, help_text="Slug of the tenant. People type it to find the provider.")
    issuer = models.CharField(max_length=500)
    client_id = models.CharField(max_length=191)
    secret_name = models.CharField(max_length=200, help_text="Name of the secret with the client secret.")
    group_claim = models.CharField(max_length=100, default="groups")
    extra_scopes = models.JSONField(
        default=list, blank=True, help_text="Scopes that the portal requests besides openid, profile and email."
    )
    roles = models.JSONField(default=dict, help_text="Role of each group.")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "tenant_identity_providers"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="tenant_identity_providers_name"),
            models.UniqueConstraint(fields=["tenant", "issuer"], name="tenant_identity_providers_issuer"),
        ]
        # The index does not begin with the tenant, because a visitor without a session types the slug of the tenant.
        indexes = [models.Index(fields=["sign_in_name"], name="tenant_identity_providers_slug")]

    def __str__(self) -> str:
        return self.name
