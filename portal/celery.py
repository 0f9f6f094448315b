"""The Celery application: `celery -A portal.celery worker|beat`."""

import os

import billiard.pool
from celery import Celery

# A warm shutdown with two tasks under way waits 30 s for messages that have come already; fewer looks end the wait.
billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 20

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("pointsman")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()
app.autodiscover_tasks(["ingress"])
