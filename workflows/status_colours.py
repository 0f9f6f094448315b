"""Colours of statuses on the pages in the older look, as Unfold's label types.

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
WAIT = {"WAITING": "warning", "RESOLVED": "success", "TIMED_OUT": "danger", "CANCELED": "default"}
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

ALL = {
    "run": RUN,
    "wait": WAIT,
    "delivery": DELIVERY,
    "command": COMMAND,
}
