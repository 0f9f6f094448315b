"""Environment: development or production, and the folders for data and downloads."""

from pathlib import Path

from portal.env import ConfigError, env

BASE_DIR = Path(__file__).resolve().parent.parent.parent

POINTSMAN_ENV = env.choice(
    "POINTSMAN_ENV",
    "development",
    ("development", "production"),
    "in `production`, variables without a safe default must be set",
)
PRODUCTION = POINTSMAN_ENV == "production"
DEBUG = env.flag("DEBUG", False, "show Django's debug pages; refused in production")
if PRODUCTION and DEBUG:
    raise ConfigError(
        "DEBUG", "is true, but debug pages are not allowed in production; set DEBUG=false or POINTSMAN_ENV=development"
    )

POINTSMAN_HOME: Path = (
    env.path(
        "POINTSMAN_HOME",
        None,
        "folder for the data of the embedded servers and for generated secrets",
        shown_default=".local",
    )
    or BASE_DIR / ".local"
)
POINTSMAN_CACHE: Path = (
    env.path(
        "POINTSMAN_CACHE", None, "folder for downloaded tools (the Temporal CLI)", shown_default="~/.cache/pointsman"
    )
    or Path.home() / ".cache" / "pointsman"
)


def required_in_production(name: str, value: str, default: str) -> str:
    """Return the value of the variable.

    If it is not set: return the default in development, raise ConfigError in production.
    """
    if value:
        return value
    if PRODUCTION:
        raise ConfigError(name, "is not set; production has no default for it, so set it")
    return default
