"""Redis as the broker, Celery, and the periodic tasks."""

from datetime import timedelta

from celery.schedules import crontab

from portal.env import env, matching
from portal.settings.environment import required_in_production

REDIS_PORT = env.port("REDIS_PORT", 16379, "port of the embedded Redis")

REDIS_URL = required_in_production(
    "REDIS_URL",
    env.parsed(
        "REDIS_URL",
        "",
        matching(r"rediss?://\S+", "redis://host:port/0"),
        "Redis: `redis://host:port/0`; if not set, the embedded Redis",
    ),
    f"redis://127.0.0.1:{REDIS_PORT}/0",
)
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_DEFAULT_QUEUE = env.text(
    "CELERY_QUEUE", "celery", "Celery queue of the portal; use another name if other applications share the broker"
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# portal/checks.py refuses other values, because other values can lose messages. Redis keeps a message until its task
# has ended. If a child process is killed, its message returns to the queue at once. If a worker is killed, its messages
# return after the visibility timeout. Every task may run twice. So it is harmless if a message returns after its task
# has ended.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# The message of a task that was killed at its time limit returns to the queue, because its work is not done. The
# message of a task that raised an error is acknowledged (Celery's default). The option task_acks_on_failure stays on.
# If it was off, Celery would reject the message, and the message would be deleted too.
CELERY_TASK_TIME_LIMIT = 120
CELERY_TASK_ACKS_ON_TIMEOUT = False
# During a short Redis outage, running tasks continue. Their acknowledgement is lost, their message returns, and the
# second run finds the work done. Cancelling the tasks would lose their progress.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
# A message is published once, with short socket timeouts. Web requests do not wait for this
# (workflows/dispatch_notification.py).
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # The visibility timeout is as long as a worker can hold a message. The longest countdown (60 s,
    # ingress.consume_event), the task before it (120 s) and the task itself (120 s) add up to 300 s.
    "visibility_timeout": 300,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    # Each worker checks every 5 s for messages whose visibility timeout is over. kombu's default throttle would skip
    # nine of ten checks. kombu's default mutex would block all workers for 300 s after a worker is killed during a
    # check.
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "unacked_mutex_expire": 30,
}
CELERY_TIMEZONE = "UTC"
SWEEP_INTERVAL_SECONDS = env.number(
    "SWEEP_INTERVAL_SECONDS", 5, "seconds between two sweeps for unfinished events and deliveries", low=0.5, high=300
)
RECONCILE_INTERVAL_SECONDS = env.number(
    "RECONCILE_INTERVAL_SECONDS", 10, "seconds between two comparisons of runs with Temporal", low=1, high=3600
)
SCHEDULE_RECONCILE_INTERVAL_SECONDS = env.number(
    "SCHEDULE_RECONCILE_INTERVAL_SECONDS", 60, "seconds between two comparisons of schedules with Temporal", low=1,
    high=3600,
)  # fmt: skip
AUTO_PAUSE_INTERVAL_SECONDS = env.number(
    "AUTO_PAUSE_INTERVAL_SECONDS", 15, "seconds between two checks of the failure rates of definitions", low=1,
    high=3600,
)  # fmt: skip
INCIDENT_INTERVAL_SECONDS = env.number(
    "INCIDENT_INTERVAL_SECONDS", 10, "seconds between two searches for failed runs that no incident has", low=1,
    high=3600,
)  # fmt: skip
INCIDENT_QUIET_DAYS = env.number(
    "INCIDENT_QUIET_DAYS", 14, "days without a failure after which an incident is closed", low=1, high=365
)
STEP_COUNT_INTERVAL_SECONDS = env.number(
    "STEP_COUNT_INTERVAL_SECONDS", 15, "seconds between two countings of steps for the maps of definitions", low=1,
    high=3600,
)  # fmt: skip
PRUNE_HOUR = env.whole(
    "PRUNE_HOUR", 2, "hour of the day (UTC) at which the daily deletion of old rows begins", low=0, high=23
)
TENANT_MEASURE_INTERVAL_SECONDS = env.number(
    "TENANT_MEASURE_INTERVAL_SECONDS", 300, "seconds between two measurements of what the limits of tenants limit",
    low=5, high=86_400,
)  # fmt: skip
CELERY_BEAT_SCHEDULE = {
    "workflows.measure_tenants": {
        "task": "workflows.measure_tenants",
        "schedule": timedelta(seconds=TENANT_MEASURE_INTERVAL_SECONDS),
        "options": {"expires": max(30.0, 3 * TENANT_MEASURE_INTERVAL_SECONDS)},
    },
    "workflows.prune_old_rows": {
        "task": "workflows.prune_old_rows",
        "schedule": crontab(hour=str(PRUNE_HOUR), minute="17"),
        "options": {"expires": 43_200.0},
    },
    "workflows.grow_incidents": {
        "task": "workflows.grow_incidents",
        "schedule": timedelta(seconds=INCIDENT_INTERVAL_SECONDS),
        "options": {"expires": max(30.0, 3 * INCIDENT_INTERVAL_SECONDS)},
    },
    "workflows.count_steps": {
        "task": "workflows.count_steps",
        "schedule": timedelta(seconds=STEP_COUNT_INTERVAL_SECONDS),
        "options": {"expires": max(30.0, 3 * STEP_COUNT_INTERVAL_SECONDS)},
    },
    "workflows.auto_pause_definitions": {
        "task": "workflows.auto_pause_definitions",
        "schedule": timedelta(seconds=AUTO_PAUSE_INTERVAL_SECONDS),
        "options": {"expires": max(30.0, 3 * AUTO_PAUSE_INTERVAL_SECONDS)},
    },
    "ingress.sweep_events": {
        "task": "ingress.sweep_events",
        "schedule": timedelta(seconds=SWEEP_INTERVAL_SECONDS),
        # If the message of a sweep waits longer than this in the queue, it expires. The next sweep does the work.
        "options": {"expires": max(30.0, 3 * SWEEP_INTERVAL_SECONDS)},
    },
    "workflows.reconcile_runs": {
        "task": "workflows.reconcile_runs",
        "schedule": timedelta(seconds=RECONCILE_INTERVAL_SECONDS),
        "options": {"expires": max(30.0, 3 * RECONCILE_INTERVAL_SECONDS)},
    },
    "workflows.reconcile_schedules": {
        "task": "workflows.reconcile_schedules",
        "schedule": timedelta(seconds=SCHEDULE_RECONCILE_INTERVAL_SECONDS),
        "options": {"expires": max(60.0, 3 * SCHEDULE_RECONCILE_INTERVAL_SECONDS)},
    },
}
