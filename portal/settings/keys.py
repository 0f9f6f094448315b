"""Secret keys: Django's secret key, and the keys that encrypt secrets in the database."""

import base64
import contextlib
import secrets
import tempfile

from portal.env import ConfigError, env, named_keys
from portal.settings.environment import POINTSMAN_HOME, PRODUCTION


def _development_secret_key() -> str:
    """Return the key under POINTSMAN_HOME. Create the key if it is missing.

    So sessions remain valid after a restart.
    """
    path = POINTSMAN_HOME / "secret-key"
    if not path.exists():
        POINTSMAN_HOME.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(48))
    return path.read_text().strip()


SECRET_KEY = env.secret(
    "SECRET_KEY", "Django's secret key, 50 or more random characters; generated once in development"
)
if not SECRET_KEY:
    if PRODUCTION:
        raise ConfigError("SECRET_KEY", "is not set; production has no default for it, so set it")
    SECRET_KEY = _development_secret_key()


def _development_secret_keys() -> dict[str, bytes]:
    """Return the keys under POINTSMAN_HOME. If the file is missing, create it with one key.

    Processes may start at the same time. Linking a complete file into place lets exactly one of them create the key.
    """
    path = POINTSMAN_HOME / "workflow-secret-keys"
    if not path.exists():
        POINTSMAN_HOME.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=POINTSMAN_HOME) as new_file:
            new_file.write(f"development:{base64.b64encode(secrets.token_bytes(32)).decode()}\n")
            new_file.flush()
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(new_file.name)
    try:
        return named_keys(path.read_text().strip())
    except ValueError as error:
        raise ConfigError(
            "WORKFLOW_SECRET_KEYS",
            f"is not set, and the key file {path} is invalid: {error}; correct the file, or set the variable",
        ) from error


# The first key encrypts. All keys decrypt. Django's error pages hide the value, because the name contains KEY.
WORKFLOW_SECRET_KEYS: dict[str, bytes] = env.parsed(
    "WORKFLOW_SECRET_KEYS",
    "",
    named_keys,
    "keys for secrets in the database: `id:base64 of 32 bytes`, separated by commas; the first key encrypts, all"
    " decrypt; generated once in development, required in production before a secret can be saved",
)
if not WORKFLOW_SECRET_KEYS and not PRODUCTION:
    WORKFLOW_SECRET_KEYS = _development_secret_keys()
