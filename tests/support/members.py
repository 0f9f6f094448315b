"""Accounts, and users with a role in a tenant, signed in."""

import uuid
from typing import Any

from django.contrib.auth import get_user_model
from django.test import Client

from workflows.models import Tenant, TenantMembership
from workflows.statuses import Role


def member_of(*tenants: Tenant, role: str = "operator", superuser: bool = False) -> Client:
    """Create a user with this role in the tenants, and return a test client that is signed in as the user."""
    number = get_user_model().objects.count()
    user = get_user_model().objects.create_user(f"user{number}-{tenants[0].slug}", password="x", is_superuser=superuser)
    for tenant in tenants:
        TenantMembership.objects.create(tenant=tenant, user=user, role=role)
    client = Client()
    client.force_login(user)
    return client


def make_account(name: str) -> Any:
    return get_user_model().objects.create_user(f"{name}-{uuid.uuid4().hex[:8]}", password="x")


def join(tenant: Tenant, account: Any, role: Role = Role.ADMIN) -> None:
    TenantMembership.objects.create(tenant=tenant, user=account, role=role)
