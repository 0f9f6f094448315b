"""Actions that call other systems: `http.request` and `celery.call`."""

from portal.env import ConfigError, env, matching
from portal.settings.celery import REDIS_URL
from portal.settings.environment import PRODUCTION
from portal.settings.web import PORT

HTTP_ALLOWED_PRIVATE_HOSTS = env.words(
    "HTTP_ALLOWED_PRIVATE_HOSTS",
    "" if PRODUCTION else f"127.0.0.1:{PORT}",
    "hosts (or host:port) with private addresses that `http.request` may call, with commas",
)

_TASKS = r"[\w.:-]+(\.\*)?"
CELERY_CALL_TASKS = [
    name.strip()
    for name in env.parsed(
        "CELERY_CALL_TASKS",
        "",
        matching(rf"{_TASKS}(\s*,\s*{_TASKS})*", "names of tasks, or `prefix.*`, with commas"),
        "tasks that `celery.call` may run: names, or `prefix.*`, with commas; none otherwise",
    ).split(",")
    if name
]


def _url_of_another(name: str, *schemes: str, meaning: str) -> str:
    """The portal's own Redis unless it is given. A wrong one is not echoed: it may hold a password."""
    url = env.secret(name, meaning)
    if url and url.partition("://")[0] not in schemes:
        raise ConfigError(name, f"must begin with {', '.join(f'{scheme}://' for scheme in schemes)}")
    return url or REDIS_URL


CELERY_CALL_BROKER_URL = _url_of_another(
    "CELERY_CALL_BROKER_URL", "redis", "rediss", "amqp", "amqps", "pyamqp",
    meaning="broker of the application whose tasks `celery.call` runs (Redis or RabbitMQ); else `REDIS_URL`",
)  # fmt: skip
CELERY_CALL_RESULT_BACKEND = _url_of_another(
    "CELERY_CALL_RESULT_BACKEND", "redis", "rediss",
    meaning="result backend of that application (Redis); else `REDIS_URL`",
)  # fmt: skip
