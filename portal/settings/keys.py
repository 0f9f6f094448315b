"""Secret keys: Django's secret key, and the keys that encrypt secrets in the database."""

import base64
import secrets

from portal.env import ConfigError, env, named_keys
from portal.generated_files import generated_file
from portal.settings.environment import POINTSMAN_HOME, PRODUCTION

SECRET_KEY = env.secret(
    "SECRET_KEY", "Django's secret key, 50 or more random characters; generated once in development"
)
if not SECRET_KEY:
    if PRODUCTION:
        raise ConfigError("SECRET_KEY", "is not set; production has no default for it, so set it")
    # The file keeps sessions valid after a restart.
    SECRET_KEY = generated_file(POINTSMAN_HOME / "secret-key", lambda: secrets.token_urlsafe(48))


def _development_secret_keys() -> dict[str, bytes]:
    """Return the keys of the file under POINTSMAN_HOME. A new file has one key."""
    path = POINTSMAN_HOME / "workflow-secret-keys"
    text = generated_file(path, lambda: f"development:{base64.b64encode(secrets.token_bytes(32)).decode()}\n")
    try:
        return named_keys(text)
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


# Each key is the private key of Ed25519. The first key signs.
LEDGER_EXPORT_KEYS: dict[str, bytes] = env.parsed(
    "LEDGER_EXPORT_KEYS",
    "",
    named_keys,
    "keys that sign exports of the ledger: `id:base64 of 32 bytes`, separated by commas; the first key signs; without"
    " a key, the ledger cannot be exported",
)
