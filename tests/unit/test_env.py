"""A wrong setting stops the process with a message that names the variable."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portal import env as portal_env
from portal.env import ConfigError, Env

ROOT = Path(__file__).resolve().parents[2]
PATHS = "WORKFLOW_RUNTIME_V2_EVENT_CORRELATION_PATHS_JSON"


@pytest.fixture(autouse=True)
def own_declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep variables of these tests out of the portal's list of settings."""
    monkeypatch.setattr(portal_env, "DECLARED", {})


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("eight", lambda env: env.port("X", 1, "")),
        ("0", lambda env: env.port("X", 1, "")),
        ("70000", lambda env: env.port("X", 1, "")),
        ("maybe", lambda env: env.flag("X", False, "")),
        ("blue", lambda env: env.choice("X", "a", ("a", "b"), "")),
        ("1.5", lambda env: env.whole("X", 1, "", low=0, high=9)),
        ("nan?", lambda env: env.number("X", 1, "", low=0, high=9)),
        ("{", lambda env: env.parsed("X", "", json.loads, "")),
    ],
)
def test_wrong_values_name_the_variable(value: str, read: Callable[[Env], Any]) -> None:
    with pytest.raises(ConfigError, match="^X: "):
        read(Env({"X": value}))


def test_empty_value_counts_as_not_set() -> None:
    env = Env({"X": " "})
    assert (env.port("X", 8000, ""), env.flag("X", True, ""), env.text("X", "d", "")) == (8000, True, "d")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PORT": "http"}, "PORT: is 'http'"),
        ({PATHS: '{"E": 5}'}, f"{PATHS}: "),
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
        (
            {"DATABASE_APP_ROLE": "one", "DATABASE_SYSTEM_ROLE": "one"},
            "DATABASE_SYSTEM_ROLE: is 'one', as DATABASE_APP_ROLE",
        ),
        ({"ACTION_APPS": "acme shop"}, "ACTION_APPS: has the entry 'acme shop'"),
        ({"ACTION_APPS": "json,json"}, "ACTION_APPS: has the entry 'json' twice"),
        (
            {"ACTION_APPS": "json,acme_shop"},
            "ACTION_APPS: has the entry 'acme_shop', but this package is not installed",
        ),
        ({"ACTION_APPS": "rest_framework"}, "ACTION_APPS: has the entry 'rest_framework', which the portal installs"),
        ({"DATABASE_URL": "mysql://localhost/x"}, "DATABASE_URL: must be a PostgreSQL URL"),
    ],
)
def test_process_stops_at_a_wrong_setting(environment: dict[str, str], message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={"PATH": "/usr/bin", "POINTSMAN_HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
