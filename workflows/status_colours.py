"""Colours of statuses on all screens, as Unfold's label types.

- success (green): the work has ended well
- danger (red): an operator must act
- warning (orange): the work waits
- info (blue): the work is in progress
- default (grey): the work has ended without an effect
"""

RUN = {
    "STARTING": "info",
    "RUNNING": "info",
    "WAITING": "warning",
    "SUCCEEDED": "success",
    "FAILED": "danger",
    "CANCELED": "default",
    "TERMINATED": "danger",
    "TIMED_OUT": "danger",
}
STEP = {
    "STARTED": "info",
    "SUCCEEDED": "success",
    "FAILED": "danger",
    "RETRY_SCHEDULED": "warning",
    "CANCELED": "default",
    "SKIPPED": "default",
}
WAIT = {"WAITING": "warning", "RESOLVED": "success", "TIMED_OUT": "danger", "CANCELED": "default"}
EVENT = {
    "received": "info",
    "routing": "info",
    "held": "warning",
    "delivered": "success",
    "partly_delivered": "warning",
    "buffered": "warning",
    "unmatched": "default",
    "uncorrelated": "danger",
    "rejected": "danger",
    "dead": "danger",
    "discarded": "default",
}
DELIVERY = {
    "pending": "warning",
    "sent": "info",
    "matched": "success",
    "started": "success",
    "filtered": "default",
    "late": "default",
    "skipped": "default",
    "dead": "danger",
    "discarded": "default",
}
COMMAND = {
    "requested": "info",
    "accepted": "warning",
    "observed": "success",
    "refused": "danger",
    "failed": "danger",
    "unknown": "danger",
}
INVOCATION = {"STARTED": "info", "SUCCEEDED": "success", "FAILED": "danger"}
BULK = {"preview": "info", "running": "info", "paused": "warning", "stopped": "default", "done": "success"}

ALL = {
    "run": RUN,
    "step": STEP,
    "wait": WAIT,
    "event": EVENT,
    "delivery": DELIVERY,
    "command": COMMAND,
    "invocation": INVOCATION,
    "bulk": BULK,
}
