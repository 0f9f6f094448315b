"""A wrong setting stops the process with a sentence that names the variable."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portal import env as portal_env
from portal.env import ConfigError, Env

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read here is no setting of the portal."""
    monkeypatch.setattr(portal_env, "DECLARED", {})


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("eight", lambda env: env.port("X", 1, "")), ("0", lambda env: env.port("X", 1, "")), ("70000", lambda env: env.port("X", 1, "")),
        ("maybe", lambda env: env.flag("X", False, "")), ("blue", lambda env: env.choice("X", "a", ("a", "b"), "")),
        ("1.5", lambda env: env.whole("X", 1, "", low=0, high=9)), ("nan?", lambda env: env.number("X", 1, "", low=0, high=9)),
        ("{", lambda env: env.parsed("X", "", __import__("json").loads, "")),
    ],
)  # fmt: skip
def test_wrong_values_name_the_variable(value: str, read: Callable[[Env], Any]) -> None:
    with pytest.raises(ConfigError, match="^X: "):
        read(Env({"X": value}))


def test_empty_values_are_as_unset() -> None:
    env = Env({"X": " "})
    assert (env.port("X", 8000, ""), env.flag("X", True, ""), env.text("X", "d", "")) == (8000, True, "d")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PORT": "http"}, "PORT: is 'http'"),
        ({"WORKFLOW_RUNTIME_V2_EVENT_CORRELATION_PATHS_JSON": '{"E": 5}'}, "WORKFLOW_RUNTIME_V2_EVENT_CORRELATION_PATHS_JSON: "),
        ({"EVENT_BUFFER_SECONDS": "0"}, "EVENT_BUFFER_SECONDS: is 0"),
        ({"POINTSMAN_ENV": "production"}, "SECRET_KEY: is not set"),
        ({"POINTSMAN_ENV": "production", "DEBUG": "true"}, "DEBUG: "),
        ({"REDIS_URL": "localhost"}, "REDIS_URL: is 'localhost'; it must be redis://host:port/0"),
        ({"TEMPORAL_ADDRESS": "temporal"}, "TEMPORAL_ADDRESS: is 'temporal'; it must be host:port"),
        ({"TEMPORAL_TLS_CA": "/nowhere/ca.pem"}, "TEMPORAL_TLS_CA: is /nowhere/ca.pem, which is not a file"),
        ({"EMAIL_BACKEND": "django.mail.Smtp"}, "EMAIL_BACKEND: is 'django.mail.Smtp'"),
        ({"PUBLIC_URL": "portal.example"}, "PUBLIC_URL: is 'portal.example'"),
        ({"DATABASE_APP_ROLE": "app; drop"}, "DATABASE_APP_ROLE: is 'app; drop'"),
        ({"DATABASE_SYSTEM_ROLE": "pointsman_app"}, "DATABASE_SYSTEM_ROLE: is 'pointsman_app', as DATABASE_APP_ROLE"),
        ({"DATABASE_APP_ROLE": "one", "DATABASE_SYSTEM_ROLE": "one"}, "DATABASE_SYSTEM_ROLE: is 'one', as DATABASE_APP_ROLE"),
        ({"DATABASE_URL": "mysql://localhost/x"}, "DATABASE_URL: must be a PostgreSQL URL"),
    ],
)  # fmt: skip
def test_a_process_with_a_wrong_setting_stops_before_it_begins(
    environment: dict[str, str], message: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT, env={"PATH": "/usr/bin", "POINTSMAN_HOME": str(tmp_path), **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
