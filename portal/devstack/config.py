"""Configuration of the stack. No other module of this package reads Django's settings."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Each of these variables has the address of a real server. The real server replaces the embedded server.
REPLACED_BY = {"postgres": "DATABASE_URL", "redis": "REDIS_URL", "temporal": "TEMPORAL_ADDRESS"}


@dataclass(frozen=True)
class StackConfig:
    home: Path
    cache: Path
    project: Path
    python: str
    host: str
    port: int
    postgres_port: int
    redis_port: int
    temporal_port: int
    temporal_ui_port: int
    embedded: frozenset[str]
    temporal_cli: str
    temporal_namespace: str
    temporal_drain_seconds: float
    public_url: str

    @classmethod
    def from_settings(cls, settings: Any, environment: Mapping[str, str] = os.environ) -> "StackConfig":
        """Return the configuration.

        The variables in `environment` decide which embedded servers real servers replace.
        """
        return cls(
            home=settings.POINTSMAN_HOME,
            cache=settings.POINTSMAN_CACHE,
            project=settings.BASE_DIR,
            python=sys.executable,
            host=settings.HOST,
            port=settings.PORT,
            postgres_port=settings.POSTGRES_PORT,
            redis_port=settings.REDIS_PORT,
            temporal_port=settings.TEMPORAL_PORT,
            temporal_ui_port=settings.TEMPORAL_UI_PORT,
            embedded=frozenset(
                name for name, variable in REPLACED_BY.items() if not environment.get(variable, "").strip()
            ),
            temporal_cli=settings.TEMPORAL_CLI,
            temporal_namespace=settings.TEMPORAL_NAMESPACE,
            temporal_drain_seconds=settings.TEMPORAL_DRAIN_SECONDS,
            public_url=settings.PUBLIC_URL,
        )

    def replaced(self) -> dict[str, str]:
        """Return the servers that are not embedded. The value for each server is the variable that has its address."""
        return {name: variable for name, variable in REPLACED_BY.items() if name not in self.embedded}
