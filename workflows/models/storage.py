"""Values that the `store.*` actions store, and secrets that actions use."""

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from workflows.models.fields import OrderedJSONField, TenantRow


class DataStoreEntry(TenantRow):
    """Value that the `store.*` actions read and write.

    `row_version` counts the writes, so that compare-and-set is possible.
    """

    namespace = models.CharField(max_length=200, default="default")
    key = models.CharField(max_length=500)
    value = OrderedJSONField(null=True)
    row_version = models.PositiveBigIntegerField(default=1)
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "workflow_data_store"
        constraints = [models.UniqueConstraint(fields=["tenant", "namespace", "key"], name="workflow_data_store_key")]
        indexes = [
            models.Index(
                fields=["tenant", "expires_at"],
                condition=models.Q(expires_at__isnull=False),
                name="workflow_data_store_expiry",
            )
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.key}"


class Secret(TenantRow):
    """Encrypted value. The portal never shows the value after it was stored. Only an activity decrypts it."""

    name = models.CharField(max_length=200, validators=[RegexValidator(r"^[A-Z][A-Z0-9_]*$")])
    ciphertext = models.BinaryField()
    key_id = models.CharField(max_length=64)
    description = models.TextField(blank=True)
    created_by_name = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    rotated_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "workflow_secrets"
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="workflow_secrets_name")]

    def __str__(self) -> str:
        return self.name
