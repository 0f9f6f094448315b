"""Secret keys: Django's own, and the keys that encrypt stored secrets."""

import base64
import contextlib
import secrets
import tempfile

from portal.env import ConfigError, env, named_keys
from portal.settings.environment import POINTSMAN_HOME, PRODUCTION


def _development_secret_key() -> str:
    """A key made once and kept under POINTSMAN_HOME, so that sessions survive a restart of `make run`."""
    path = POINTSMAN_HOME / "secret-key"
    if not path.exists():
        POINTSMAN_HOME.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(48))
    return path.read_text().strip()


SECRET_KEY = env.secret("SECRET_KEY", "Django's secret key (50 or more random characters); made once in development")
if not SECRET_KEY:
    if PRODUCTION:
        raise ConfigError("SECRET_KEY", "is not set; in production there is no default")
    SECRET_KEY = _development_secret_key()


def _development_secret_keys() -> dict[str, bytes]:
    """A key made once and kept under POINTSMAN_HOME. By a link, so that of processes that start at once one makes it."""
    path = POINTSMAN_HOME / "workflow-secret-keys"
    if not path.exists():
        POINTSMAN_HOME.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=POINTSMAN_HOME) as made:
            made.write(f"development:{base64.b64encode(secrets.token_bytes(32)).decode()}\n")
            made.flush()
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(made.name)
    try:
        return named_keys(path.read_text().strip())
    except ValueError as error:
        raise ConfigError("WORKFLOW_SECRET_KEYS", f"is not set, and {path} cannot be read: {error}") from error


# In order: the first encrypts, all decrypt. Django's error pages hide it for its name.
WORKFLOW_SECRET_KEYS: dict[str, bytes] = env.parsed(
    "WORKFLOW_SECRET_KEYS",
    "",
    named_keys,
    "keys that encrypt secrets in the database, `id:base64 of 32 bytes`, with commas; the first encrypts; made once in"
    " development, in production needed as soon as a secret is saved",
)
if not WORKFLOW_SECRET_KEYS and not PRODUCTION:
    WORKFLOW_SECRET_KEYS = _development_secret_keys()
