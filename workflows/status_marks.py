"""Word, icon and tone of each status on the screens. Use only these words (docs/reference/screens.md#look).

A tone is a class of `portal/static/portal/design.css` without its prefix `c-`. An icon is a symbol of `icons.svg`.
"""

from typing import NamedTuple


class Mark(NamedTuple):
    word: str
    icon: str
    tone: str


# "retrying" and "unknown" are shown states. They come from the open retry wait or decision task of a waiting run.
RUN = {
    "STARTING": Mark("Starting", "run", "blue"),
    "RUNNING": Mark("Running", "run", "blue"),
    "WAITING": Mark("Waiting", "wait", "amber"),
    "retrying": Mark("Retrying", "retry", "orange"),
    "unknown": Mark("Outcome unknown", "unknown", "violet"),
    "SUCCEEDED": Mark("Succeeded", "ok", "green"),
    "FAILED": Mark("Failed", "failed", "red"),
    "CANCELED": Mark("Canceled", "cancel", "grey"),
    "TERMINATED": Mark("Terminated", "cancel", "grey"),
    "TIMED_OUT": Mark("Timed out", "failed", "red"),
}
STEP = {
    "taken": Mark("taken", "ok", "green"),
    "current": Mark("current", "wait", "amber"),
    "retrying": Mark("retrying", "retry", "orange"),
    "failed": Mark("failed", "failed", "red"),
    "canceled": Mark("canceled", "cancel", "grey"),
    "stopped": Mark("stopped", "cancel", "grey"),  # the run ended, and the step has no end of its own
    "caught": Mark("caught", "warn", "amber"),
    "not_taken": Mark("not taken", "off", "grey"),
    "not_reached": Mark("not reached", "todo", "grey"),
}
INCIDENT = {
    "new": Mark("New", "warn", "red"),
    "open": Mark("Open", "person", "blue"),
    "snoozed": Mark("Snoozed", "clock", "grey"),
    "resolved": Mark("Resolved", "ok", "green"),
    "regressed": Mark("Regressed", "replay", "red"),
    "closed": Mark("Closed", "check", "grey"),
}
EVENT = {
    "received": Mark("Received", "in", "blue"),
    "routing": Mark("Routing", "run", "blue"),
    "held": Mark("On hold", "held", "amber"),
    "delivered": Mark("Delivered", "ok", "green"),
    "partly_delivered": Mark("Partly delivered", "warn", "amber"),
    "buffered": Mark("Buffered", "wait", "amber"),
    "buffer_over": Mark("Buffer time over", "clock", "amber"),
    "unmatched": Mark("Unmatched", "target", "amber"),
    "uncorrelated": Mark("Uncorrelated", "failed", "red"),
    "rejected": Mark("Rejected", "failed", "red"),
    "dead": Mark("Dead", "dead", "red"),
    "discarded": Mark("Discarded", "off", "grey"),
}
DELIVERY = {
    "pending": Mark("Pending", "clock", "blue"),
    "sent": Mark("Sent", "send", "blue"),
    "matched": Mark("Matched", "ok", "green"),
    "started": Mark("Started", "ok", "green"),
    "filtered": Mark("Filtered", "filter", "amber"),
    "late": Mark("Late", "clock", "amber"),
    "skipped": Mark("Not started", "off", "amber"),
    "dead": Mark("Dead", "dead", "red"),
    "discarded": Mark("Discarded", "off", "grey"),
}
WAIT = {
    "WAITING": Mark("Waiting", "wait", "amber"),
    "RESOLVED": Mark("Resolved", "ok", "green"),
    "TIMED_OUT": Mark("Timed out", "failed", "red"),
    "CANCELED": Mark("Canceled", "cancel", "grey"),
}
SCHEDULE = {
    "active": Mark("Active", "ok", "green"),
    "paused": Mark("Paused", "held", "amber"),
    "failing": Mark("Failing", "failed", "red"),
    "missing": Mark("Not in Temporal", "warn", "red"),
    "unchecked": Mark("Not compared", "unknown", "amber"),
}
DEFINITION = {
    "published": Mark("Published", "ok", "green"),
    "paused": Mark("Paused", "held", "amber"),
    "draft": Mark("Draft", "set", "blue"),
    "archived": Mark("Archived", "off", "grey"),
}
COMMAND = {
    "requested": Mark("Requested", "run", "blue"),
    "accepted": Mark("Accepted", "check", "blue"),
    "observed": Mark("Observed", "ok", "green"),
    "refused": Mark("Refused", "off", "amber"),
    "failed": Mark("Failed", "failed", "red"),
    "unknown": Mark("Unknown", "unknown", "violet"),
}
BULK = {
    "preview": Mark("Preview", "todo", "grey"),
    "waiting": Mark("Waiting for a worker", "wait", "amber"),  # a running job that no worker has begun
    "running": Mark("Running", "run", "blue"),
    "paused": Mark("Paused", "wait", "amber"),
    "stopped": Mark("Stopped", "cancel", "grey"),
    "done": Mark("Requests sent", "check", "grey"),
}
SIGN_IN = {
    "signed_in": Mark("Signed in", "ok", "green"),
    "failed": Mark("Failed", "failed", "red"),
    "locked_out": Mark("Locked out", "lock", "red"),
    "refused": Mark("Refused", "off", "amber"),
    "signed_out": Mark("Signed out", "cancel", "grey"),
    "session_ended": Mark("Session ended", "cancel", "grey"),
    "session_expired": Mark("Session expired", "clock", "grey"),
    "password_changed": Mark("Password changed", "key", "blue"),
    "reset_requested": Mark("Reset requested", "send", "blue"),
    "password_reset": Mark("Password reset", "key", "blue"),
    "factor_added": Mark("Second factor added", "key", "blue"),
    "factor_removed": Mark("Second factor removed", "key", "amber"),
    "factor_failed": Mark("Second factor failed", "failed", "red"),
    "factors_reset": Mark("Second factors reset", "key", "amber"),
    "reset_refused": Mark("Reset of second factors refused", "cancel", "red"),
    "codes_created": Mark("Recovery codes created", "key", "blue"),
    "account_created": Mark("Account created", "check", "blue"),
    "name_changed": Mark("User name changed", "key", "amber"),
    "address_changed": Mark("E-mail address changed", "send", "amber"),
    "account_deactivated": Mark("Account deactivated", "off", "amber"),
    "account_activated": Mark("Account activated", "check", "blue"),
    "superuser_granted": Mark("Superuser rights given", "key", "amber"),
    "superuser_revoked": Mark("Superuser rights taken", "off", "amber"),
}
# Request for one run of a bulk job. A request that was sent is not an outcome.
ITEM = {
    "pending": Mark("Not requested yet", "todo", "grey"),
    "accepted": Mark("Requested", "check", "blue"),
    "refused": Mark("Refused", "warn", "amber"),
    "failed": Mark("Request failed", "failed", "red"),
    "unknown": Mark("Unknown", "unknown", "violet"),
    "ineligible": Mark("Left out", "off", "grey"),
    "stopped": Mark("Not requested", "off", "grey"),
}
# Outcome of one run of a bulk job. The word of "open" is not "Requested": a request has no outcome yet.
OUTCOME = {
    "failed": Mark("Failed", "failed", "red"),
    "refused": Mark("Refused", "warn", "amber"),
    "unknown": Mark("Unknown", "unknown", "violet"),
    "open": Mark("Open", "run", "blue"),
    "pending": Mark("Not requested yet", "todo", "grey"),
    "not_requested": Mark("Not requested", "off", "grey"),
    "canceled": Mark("Canceled", "cancel", "grey"),
    "ended": Mark("Ended by itself", "off", "grey"),
    "succeeded": Mark("Succeeded", "ok", "green"),
    "left_out": Mark("Left out", "off", "grey"),
}
LOG = {
    "debug": Mark("Debug", "off", "grey"),
    "info": Mark("Info", "check", "blue"),
    "warning": Mark("Warning", "warn", "amber"),
    "error": Mark("Error", "failed", "red"),
}
MARKS = {
    "run": RUN,
    "step": STEP,
    "incident": INCIDENT,
    "event": EVENT,
    "delivery": DELIVERY,
    "wait": WAIT,
    "schedule": SCHEDULE,
    "definition": DEFINITION,
    "command": COMMAND,
    "bulk": BULK,
    "sign_in": SIGN_IN,
    "item": ITEM,
    "outcome": OUTCOME,
    "log": LOG,
}
