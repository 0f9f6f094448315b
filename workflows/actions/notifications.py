"""Action `notifications.send_in_app`: a message in the portal for members of the tenant.

It writes in the transaction of the action ledger.
"""

from typing import Literal

from django.db.models import Q
from pydantic import BaseModel, ConfigDict, Field

from workflows.actions.registry import ActionContext, ActionFailed
from workflows.engine.errors import Category
from workflows.models import Notification, TenantMembership
from workflows.statuses import Role


class Recipients(BaseModel):
    """Recipients of a message. `user_ids` are ids or user names of members. `roles` select all members with a role."""

    model_config = ConfigDict(extra="forbid")

    user_ids: list[str] = Field(default_factory=list)
    roles: list[Role] = Field(default_factory=list)


class NotificationInput(BaseModel):
    """Input of `notifications.send_in_app`."""

    model_config = ConfigDict(extra="forbid")

    recipients: Recipients
    severity: Literal["info", "success", "warning", "error"] = "info"
    title: str = Field(min_length=1, max_length=300)
    body: str = ""
    link: str = Field(default="", max_length=1000)


class NotificationOutput(BaseModel):
    """Output of `notifications.send_in_app`. `unknown` has the given names that are not members."""

    sent: int
    unknown: list[str]


def send_in_app(value: NotificationInput, context: ActionContext) -> NotificationOutput:
    """Write one message for each recipient.

    Idempotency: one message per member and idempotency key.
    Errors: ActionFailed if no recipient is a member of the tenant. The author must act.
    """
    named = value.recipients.user_ids
    members = TenantMembership.objects.filter(tenant_id=context.tenant_id).select_related("user")
    found = list(
        members.filter(
            Q(role__in=value.recipients.roles)
            | Q(user__username__in=named)
            | Q(user_id__in=[int(name) for name in named if name.isdecimal()])
        )
    )
    if not found:
        raise ActionFailed(
            "No recipient is a member of this tenant, so no message was sent. Name other users or roles.",
            category=Category.VALIDATION,
            code="NOTIFICATION_NO_RECIPIENT",
        )
    Notification.objects.bulk_create(
        [
            Notification(
                tenant_id=context.tenant_id,
                user=member.user,
                run_id=context.run_id,
                idempotency_key=context.idempotency_key,
                severity=value.severity,
                title=value.title,
                body=value.body,
                link=value.link,
            )
            for member in found
        ],
        ignore_conflicts=True,
    )
    reached = {member.user.get_username() for member in found} | {str(member.user_id) for member in found}
    return NotificationOutput(sent=len(found), unknown=[name for name in named if name not in reached])
