"""Row counts of a tenant, to show that a request wrote nothing."""

from typing import Any

from django.apps import apps

from workflows.models import PortalMaintenance, Tenant

OF_NO_TENANT = (Tenant, PortalMaintenance)


def row_counts(tenant: Any) -> dict[str, int]:
    """Return the number of rows of the tenant in each table, by model name."""
    models = [model for label in ("workflows", "ingress") for model in apps.get_app_config(label).get_models()]
    return {
        model.__name__: model.objects.filter(tenant=tenant).count() for model in models if model not in OF_NO_TENANT
    }
