"""Work, limits and commands of one tenant, and texts of pages, for tests."""

import uuid
from io import StringIO
from typing import Any

from django.core.management import call_command

from ingress.dispatch.work import events_work
from tests.support.api import Api
from tests.support.factories import make_token
from workflows.models import Tenant
from workflows.statuses import Role
from workflows.tenancy import system_scope


def api_of(tenant: Any, role: Role = Role.ADMIN) -> Api:
    return Api(make_token(tenant, role))


def work(tenant: Any) -> None:
    events_work(tenant_id=tenant.id, seconds=20)


def limit(tenant: Any, **limits: int | None) -> None:
    Tenant.objects.filter(id=tenant.id).update(**{f"{name}_limit": value for name, value in limits.items()})


def run_command(*words: str) -> str:
    out = StringIO()
    with system_scope():
        call_command(*words, stdout=out, stderr=out)
    return out.getvalue()


def event(number: int) -> dict[str, Any]:
    return {"event_type": "PAID", "event_id": f"e-{number}-{uuid.uuid4()}", "payload": {"n": number}}


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().split())
