"""Registration of the built-in actions (docs/reference/engine.md#actions)."""

from workflows.actions import calendar, celery_call, store, store_models
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
        description="Sends one HTTP request and returns status, headers and body. Private addresses are refused."
        " Redirects are not followed. The header `Idempotency-Key` lets a target recognise a repeated call.",
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
        description="Sends one e-mail with Django's e-mail backend. `html` is sent as an alternative to `text`."
        " If the mail server does not respond, an operator decides whether the e-mail was sent.",
        input_model=EmailInput,
        output_model=EmailOutput,
        run=send_email,
        idempotency_key=lambda value: value.idempotency_key or None,
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
        description="Writes a notification for members of the tenant, by role or by user name. `unknown` lists the"
        " names that no member has.",
        input_model=NotificationInput,
        output_model=NotificationOutput,
        run=send_in_app,
        is_transactional=True,
        timeout_seconds=10,
        examples=({"recipients": {"roles": ["operator"]}, "severity": "warning", "title": "Please call."},),
    )
)
register(
    Action(
        id="celery.call",
        version=1,
        label="Run a Celery task",
        category="Integration",
        description="Runs a task of another Celery application and waits for its result. `CELERY_CALL_TASKS` lists the"
        " permitted tasks. A task with an unknown outcome is sent again only if `isIdempotent` is true.",
        input_model=celery_call.CeleryCallInput,
        output_model=celery_call.CeleryCallOutput,
        run=celery_call.celery_call,
        # After a crash, the action always runs again. The second execution then searches for the result of the first
        # one.
        is_idempotent=True,
        takes_secrets=False,
        timeout_seconds=celery_call.TIMEOUT_SECONDS,
        retry_hint={"maxAttempts": 3, "backoffMs": 5000},
        examples=(
            {"task": "billing.make_invoice", "kwargs": {"order": "O-1"}, "queue": "billing", "timeoutSeconds": 120},
        ),
    )
)
register(
    Action(
        id="store.get",
        version=1,
        label="Read a stored value",
        category="Data",
        description="`found` is false for a key that does not exist or has expired.",
        input_model=store_models.StoreGetInput,
        output_model=store_models.StoreGetOutput,
        run=store.store_get,
        has_side_effects=False,
        is_transactional=True,
        timeout_seconds=10,
        examples=({"namespace": "customers", "key": "C-1"},),
    )
)
register(
    Action(
        id="store.set",
        version=1,
        label="Store a value",
        category="Data",
        description="Stores up to 64 KiB of JSON for all runs of the tenant. With `onlyIfAbsent`, or with the"
        " `expectedVersion` of an earlier read or write, it fails if another run wrote first.",
        input_model=store_models.StoreSetInput,
        output_model=store_models.StoreSetOutput,
        run=store.store_set,
        is_transactional=True,
        timeout_seconds=10,
        examples=({"key": "lock/O-1", "value": {"by": "import"}, "onlyIfAbsent": True, "ttlSeconds": 600},),
    )
)
register(
    Action(
        id="store.delete",
        version=1,
        label="Delete a stored value",
        category="Data",
        description="`deleted` is false if the key does not exist.",
        input_model=store_models.StoreDeleteInput,
        output_model=store_models.StoreDeleteOutput,
        run=store.store_delete,
        is_transactional=True,
        timeout_seconds=10,
        examples=({"key": "lock/O-1", "expectedVersion": 1},),
    )
)
register(
    Action(
        id="store.increment",
        version=1,
        label="Increment a stored number",
        category="Data",
        description="Adds `by` (default 1) to the number, which starts at 0. The expiry counts from the first write.",
        input_model=store_models.StoreIncrementInput,
        output_model=store_models.StoreIncrementOutput,
        run=store.store_increment,
        is_transactional=True,
        timeout_seconds=10,
        examples=({"namespace": "calls", "key": "C-1", "ttlSeconds": 3600},),
    )
)
register(
    Action(
        id="store.list",
        version=1,
        label="List stored values",
        category="Data",
        description="Lists the entries whose key starts with `prefix`, sorted by key. `nextCursor` is the `cursor` of"
        " the next page, or null.",
        input_model=store_models.StoreListInput,
        output_model=store_models.StoreListOutput,
        run=store.store_list,
        has_side_effects=False,
        is_transactional=True,
        timeout_seconds=10,
        examples=({"namespace": "customers", "prefix": "C-", "limit": 50},),
    )
)
register(
    Action(
        id="calendar.in_zone",
        version=1,
        label="Local date and time in a time zone",
        category="Time",
        description="Returns date, time, weekday and offset of a moment in a time zone.",
        input_model=calendar.InZoneInput,
        output_model=calendar.CalendarOutput,
        run=calendar.in_zone,
        has_side_effects=False,
        timeout_seconds=10,
        examples=({"value": "2026-03-29T00:30:00Z", "zone": "Europe/Berlin"},),
    )
)
register(
    Action(
        id="calendar.add",
        version=1,
        label="Add to a time in a time zone",
        category="Time",
        description="Years to days keep the local time when the clocks change. `at` sets the local time of the result.",
        input_model=calendar.AddInput,
        output_model=calendar.CalendarOutput,
        run=calendar.add,
        has_side_effects=False,
        timeout_seconds=10,
        examples=({"value": "2026-03-28T08:00:00Z", "zone": "Europe/Berlin", "days": 1, "at": "09:00"},),
    )
)
register(
    Action(
        id="calendar.add_business_time",
        version=1,
        label="Add working days or working hours",
        category="Time",
        description="Counts only working days that are not in `holidays`, and only hours between `opens` and `closes`.",
        input_model=calendar.AddBusinessTimeInput,
        output_model=calendar.CalendarOutput,
        run=calendar.add_business_time,
        has_side_effects=False,
        timeout_seconds=10,
        examples=(
            {"value": "2026-12-23T15:00:00Z", "zone": "Europe/Berlin", "days": 2, "holidays": ["2026-12-25"]},
            {"value": "2026-12-23T15:00:00Z", "zone": "Europe/Berlin", "hours": 8, "opens": "09:00", "closes": "17:00"},
        ),
    )
)
