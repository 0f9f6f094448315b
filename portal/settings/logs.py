"""Logging."""

from portal.env import env

LOG_LEVEL = env.choice(
    "LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"), "lowest level of log lines that are written"
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    # Secrets are removed from log messages when the messages are created (workflows/apps.py). This filter removes
    # secrets from the fields of `extra`.
    "filters": {"secrets": {"()": "workflows.actions.scrubbed_logs.ScrubFilter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["secrets"]}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        # This logger warns about every request that waits for a thread.
        "waitress.queue": {"level": "ERROR"},
        # These loggers write two lines for every task, and a sweep runs every few seconds.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}
