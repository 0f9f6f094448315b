"""Redis as the broker, Celery, and the periodic tasks."""

from datetime import timedelta

from portal.env import env, matching
from portal.settings.environment import required_in_production

REDIS_PORT = env.port("REDIS_PORT", 16379, "port of the embedded Redis")

REDIS_URL = required_in_production(
    "REDIS_URL",
    env.parsed(
        "REDIS_URL",
        "",
        matching(r"rediss?://\S+", "redis://host:port/0"),
        "Redis, `redis://host:port/0`; else the embedded one",
    ),
    f"redis://127.0.0.1:{REDIS_PORT}/0",
)
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_DEFAULT_QUEUE = env.text(
    "CELERY_QUEUE", "celery", "queue that our tasks go through; name another where the broker is shared"
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Nothing is lost (portal/checks.py refuses other values): a message is taken out of Redis when its task has ended, not when
# it begins. A killed child gives it back at once, a killed worker when its visibility timeout is over. Every task may be
# repeated, so one that was done and whose message came back is harmless.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# A task that is killed at its time limit was not done: its message goes back into the queue. That of a task that failed of
# itself is acknowledged, which is Celery's default; without task_acks_on_failure Celery rejects it, and Redis forgets it too.
CELERY_TASK_TIME_LIMIT = 120
CELERY_TASK_ACKS_ON_TIMEOUT = False
# When Redis goes away for a moment, what runs goes on: its acknowledgement is lost, its message comes back, and the repeat
# finds the work done. To kill it would only undo the work.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
# One attempt with short socket timeouts. Requests do not even wait for that: they ring (workflows/dispatch_notification.py).
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Above the time that a worker may keep a message: the longest countdown (60 s, of ingress.consume_event), one task that
    # is before it (120 s) and its own time (120 s).
    "visibility_timeout": 300,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    # Each worker looks every 5 s for messages whose visibility timeout is over. kombu does so at every tenth look only,
    # unless the throttle is 1, and one that is killed while it looks would keep the others from it for 300 s.
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "unacked_mutex_expire": 30,
}
CELERY_TIMEZONE = "UTC"
SWEEP_INTERVAL_SECONDS = env.number(
    "SWEEP_INTERVAL_SECONDS", 5, "seconds between two looks for events and deliveries left behind", low=0.5, high=300
)
RECONCILE_INTERVAL_SECONDS = env.number(
    "RECONCILE_INTERVAL_SECONDS", 10, "seconds between two comparisons of runs with Temporal", low=1, high=3600
)
CELERY_BEAT_SCHEDULE = {
    "ingress.sweep_events": {
        "task": "ingress.sweep_events",
        "schedule": timedelta(seconds=SWEEP_INTERVAL_SECONDS),
        # A sweep that waited longer than this in the queue is superseded by the next one.
        "options": {"expires": max(30.0, 3 * SWEEP_INTERVAL_SECONDS)},
    },
    "workflows.reconcile_runs": {
        "task": "workflows.reconcile_runs",
        "schedule": timedelta(seconds=RECONCILE_INTERVAL_SECONDS),
        "options": {"expires": max(30.0, 3 * RECONCILE_INTERVAL_SECONDS)},
    },
}
