"""Environment, folders, and what production refuses to guess."""

from pathlib import Path

from portal.env import ConfigError, env

BASE_DIR = Path(__file__).resolve().parent.parent.parent

POINTSMAN_ENV = env.choice(
    "POINTSMAN_ENV", "development", ("development", "production"), "`production` refuses every guessed value"
)
PRODUCTION = POINTSMAN_ENV == "production"
DEBUG = env.flag("DEBUG", False, "Django's debug pages; refused in production")
if PRODUCTION and DEBUG:
    raise ConfigError("DEBUG", "is true while POINTSMAN_ENV is production; switch one of them")

POINTSMAN_HOME: Path = (
    env.path("POINTSMAN_HOME", None, "state of the embedded servers and generated secrets", shown_default=".local")
    or BASE_DIR / ".local"
)
POINTSMAN_CACHE: Path = (
    env.path("POINTSMAN_CACHE", None, "downloaded tools (the Temporal CLI)", shown_default="~/.cache/pointsman")
    or Path.home() / ".cache" / "pointsman"
)


def required_in_production(name: str, value: str, default: str) -> str:
    if value:
        return value
    if PRODUCTION:
        raise ConfigError(name, "is not set; in production there is no default")
    return default
