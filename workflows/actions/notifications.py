"""Action `notifications.send_in_app`: show a message in the portal to members of the tenant.

The action writes its rows in the transaction of the action ledger.
"""

import uuid
from typing import Annotated, Any, Literal

from django.db.models import Q
from pydantic import BaseModel, BeforeValidator, Field

from workflows.actions.inputs import ActionInput
from workflows.actions.registry import ActionContext, ActionFailed
from workflows.engine.errors import Category
from workflows.models import Notification, TenantMembership
from workflows.statuses import Role


def _as_names(value: Any) -> Any:
    """Return a list of texts.

    An expression can return a number for an id, and a single value for a list with one element.
    """
    if value is None:
        return []
    items = value if isinstance(value, list) else [value]
    return [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in items]


Names = Annotated[list[str], BeforeValidator(_as_names), Field(max_length=1000)]


class Recipients(ActionInput):
    """Recipients of a message.

    `user_ids` are ids or user names of members. `roles` selects all members with one of these roles. `role_names` does
    the same, but ignores upper and lower case. Unknown role names are reported in the output and are no error.
    """

    user_ids: Names = Field(default_factory=list)
    roles: list[Role] = Field(default_factory=list)
    role_names: Names = Field(default_factory=list)


class NotificationInput(ActionInput):
    """Input of `notifications.send_in_app`.

    `dedupe_key`: for the same tenant, recipient and key, no second message is created. The output then has the first
    message.
    """

    recipients: Annotated[
        Recipients, BeforeValidator(lambda value: value if isinstance(value, dict) else {"user_ids": value})
    ]
    severity: Literal["info", "success", "warning", "error"] = "info"
    title: str = Field(min_length=1, max_length=300)
    body: str | None = None
    link: str | None = Field(default=None, max_length=1000)
    dedupe_key: str | None = Field(default=None, max_length=500)


class NotificationOutput(BaseModel):
    """Output of `notifications.send_in_app`.

    `sent` and `delivered_count` are the number of recipients. `created` is the number of new messages. Messages that
    existed already with the `dedupe_key` do not count. `unknown` has the names from the input that are not members.
    """

    sent: int
    delivered_count: int
    created: int
    notification_ids: list[uuid.UUID]
    unknown: list[str]


def send_in_app(value: NotificationInput, context: ActionContext) -> NotificationOutput:
    """Write one message for each recipient.

    Idempotency: one message per member and `dedupe_key`. If the input has no `dedupe_key`, one message per member and
    idempotency key.
    Errors: ActionFailed if no recipient is a member of the tenant. The author must act.
    """
    named, roles = value.recipients.user_ids, {name.lower() for name in value.recipients.role_names}
    members = TenantMembership.objects.filter(tenant_id=context.tenant_id).select_related("user")
    found = list(
        members.filter(
            Q(role__in={*value.recipients.roles, *roles})
            | Q(user__username__in=named)
            | Q(user_id__in=[int(name) for name in named if name.isdecimal() and len(name) < 20])
        )
    )
    if not found:
        raise ActionFailed(
            "No recipient is a member of this tenant, so no message was sent. Name other users or roles.",
            category=Category.VALIDATION,
            code="NOTIFICATION_NO_RECIPIENT",
        )
    key = f"dedupe:{value.dedupe_key}" if value.dedupe_key else context.idempotency_key
    rows = [
        Notification(
            tenant_id=context.tenant_id,
            user=member.user,
            run_id=context.run_id,
            idempotency_key=key,
            severity=value.severity,
            title=value.title,
            body=value.body or "",
            link=value.link or "",
        )
        for member in found
    ]
    Notification.objects.bulk_create(rows, ignore_conflicts=True)
    # This is a new statement, so it also sees rows that another transaction committed while the insert waited.
    stored = Notification.objects.filter(
        tenant_id=context.tenant_id, idempotency_key=key, user__in=[row.user_id for row in rows]
    )
    ids = list(stored.order_by("created_at", "id").values_list("id", flat=True))
    reached = {member.user.get_username() for member in found} | {str(member.user_id) for member in found}
    return NotificationOutput(
        sent=len(found),
        delivered_count=len(found),
        created=len({row.id for row in rows} & set(ids)),
        notification_ids=ids,
        unknown=[name for name in named if name not in reached]
        + [name for name in value.recipients.role_names if name.lower() not in set(Role)],
    )
