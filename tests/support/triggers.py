"""A definition that an event starts, and a count of every row of a tenant."""

from typing import Any

from django.apps import apps

from workflows.models import Tenant

STATE = {"id": "s", "type": "state.set", "config": {"state": "X"}}


TRIGGER = {"type": "event", "eventName": "REPLIED"}


def rows_of(tenant: Any) -> dict[str, int]:
    models = [model for label in ("workflows", "ingress") for model in apps.get_app_config(label).get_models()]
    return {model.__name__: model.objects.filter(tenant=tenant).count() for model in models if model is not Tenant}
