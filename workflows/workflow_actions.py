"""The built-in actions (PRODUCT 4.4)."""

from workflows.actions.http import HttpRequestInput, HttpRequestOutput, http_request
from workflows.actions.mail import EmailInput, EmailOutput, send_email
from workflows.actions.notifications import NotificationInput, NotificationOutput, send_in_app
from workflows.actions.registry import Action, register

register(
    Action(
        id="http.request",
        version=1,
        label="Call an HTTP address",
        category="Integration",
        description="Sends `Idempotency-Key`, so that a target that honours it takes a repeated call once.",
        input_model=HttpRequestInput,
        output_model=HttpRequestOutput,
        run=http_request,
        is_idempotent=True,
        timeout_seconds=90,
        retry_hint={"maxAttempts": 4, "backoffMs": 1000},
        examples=({"method": "POST", "url": "https://example.org/hook", "body": {"ticket": "T-1"}},),
    )
)
register(
    Action(
        id="email.send",
        version=1,
        label="Send an e-mail",
        category="Messages",
        input_model=EmailInput,
        output_model=EmailOutput,
        run=send_email,
        timeout_seconds=30,
        retry_hint={"maxAttempts": 3, "backoffMs": 5000},
        examples=({"to": ["someone@example.org"], "subject": "Hello", "text": "A line."},),
    )
)
register(
    Action(
        id="notifications.send_in_app",
        version=1,
        label="Notify members in the portal",
        category="Messages",
        input_model=NotificationInput,
        output_model=NotificationOutput,
        run=send_in_app,
        is_transactional=True,
        timeout_seconds=10,
        examples=({"recipients": {"roles": ["operator"]}, "severity": "warning", "title": "Please call."},),
    )
)
