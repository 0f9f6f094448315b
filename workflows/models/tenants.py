"""Tenants, their members, and API tokens (docs/reference/administration.md#tenants-and-roles)."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from workflows.models.fields import TenantRow, new_id
from workflows.statuses import Role


class Tenant(models.Model):
    """Organisation with its own rows. No tenant sees rows of another tenant."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=200)
    is_active = models.BooleanField(default=True)
    closed_run_retention_days = models.PositiveIntegerField(default=90)
    event_retention_days = models.PositiveIntegerField(default=90)
    ledger_retention_days = models.PositiveIntegerField(default=730)
    notification_retention_days = models.PositiveIntegerField(default=90)
    sign_in_retention_days = models.PositiveIntegerField(default=365)
    delivery_concurrency_limit = models.PositiveIntegerField(null=True, blank=True)
    redaction_rules = models.JSONField(default=list, blank=True)
    events_per_second_limit = models.PositiveIntegerField(null=True, blank=True)
    open_runs_limit = models.PositiveIntegerField(null=True, blank=True)
    stored_bytes_limit = models.PositiveBigIntegerField(null=True, blank=True)
    usage = models.JSONField(default=dict, blank=True, help_text="Last measurement of what the limits limit.")
    usage_at = models.DateTimeField(null=True, blank=True)
    maintenance_since = models.DateTimeField(null=True, blank=True)
    maintenance_reason = models.CharField(max_length=500, blank=True)
    maintenance_by_name = models.CharField(max_length=200, blank=True)
    requires_second_factor = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "tenants"

    def __str__(self) -> str:
        return self.name


class PortalMaintenance(models.Model):
    """Maintenance of the whole portal. There is one row while it lasts, and none otherwise."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    since = models.DateTimeField(default=timezone.now)
    reason = models.CharField(max_length=500)
    by_name = models.CharField(max_length=200)

    class Meta:
        db_table = "portal_maintenance"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="portal_maintenance_one_row")]

    def __str__(self) -> str:
        return self.reason


class TenantMembership(TenantRow):
    """Role of one user in one tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role.choices, default=Role.VIEWER)
    may_see_payloads = models.BooleanField(
        default=False, help_text="Permission of a viewer to see the payloads of actions."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "tenant_memberships"
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="tenant_memberships_one_per_user")]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.tenant}"


class ApiToken(TenantRow):
    """Credential of an API client. Only the SHA-256 of the token is stored. The token itself is shown once."""

    name = models.CharField(max_length=200)
    role = models.CharField(max_length=20, choices=Role.choices, default=Role.OPERATOR)
    scopes = models.JSONField(
        default=list, blank=True, help_text="Permitted scopes. An empty list permits all actions of the role."
    )
    prefix = models.CharField(max_length=16, editable=False)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    rate_limit_per_minute = models.PositiveIntegerField(null=True, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    rotated_at = models.DateTimeField(null=True, blank=True, help_text="Time at which another token replaced it.")
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        db_table = "api_tokens"
        indexes = [models.Index(fields=["tenant", "name"], name="api_tokens_by_name")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class Invitation(TenantRow):
    """Invitation of a person to a tenant by e-mail. Only the SHA-256 of the code in the link is stored."""

    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=20, choices=Role.choices)
    code_hash = models.CharField(max_length=64, unique=True, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_name = models.CharField(max_length=200, help_text="Person or token that sent the last e-mail.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    sent_at = models.DateTimeField(default=timezone.now, help_text="Time of the last e-mail.")
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by_name = models.CharField(max_length=150, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    tried_names = models.PositiveSmallIntegerField(default=0, help_text="Account names tried since the last e-mail.")

    class Meta:
        db_table = "tenant_invitations"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "email"],
                condition=models.Q(accepted_at__isnull=True, revoked_at__isnull=True),
                name="tenant_invitations_one_open",
            )
        ]
        indexes = [models.Index(fields=["tenant", "-created_at", "-id"], name="tenant_invitations_newest")]

    def __str__(self) -> str:
        return f"{self.email} as {self.role}"
