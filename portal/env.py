"""Settings from the environment, read loudly.

Every variable is read through one of the helpers here. A wrong value raises `ConfigError` with the variable's name, the
value and what would be right; `manage.py` and the entry points print it and stop. Each read is kept in `DECLARED`, from
which a test checks that the README documents it.
"""

import base64
import importlib.util
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured

Number = TypeVar("Number", int, float)


class ConfigError(ImproperlyConfigured):
    """A variable of the environment has a value that cannot be used. Whoever starts the process must act."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        super().__init__(f"{name}: {problem}")


@dataclass(frozen=True)
class Declared:
    name: str
    default: str
    meaning: str


DECLARED: dict[str, Declared] = {}


class Env:
    """Reads of one environment mapping (the process's own, or a test's)."""

    def __init__(self, source: Mapping[str, str]) -> None:
        self._source = source

    def _read(self, name: str, default: Any, meaning: str) -> str | None:
        DECLARED[name] = Declared(name, "" if default is None else str(default), meaning)
        value = self._source.get(name)
        return None if value is None or value.strip() == "" else value.strip()

    def text(self, name: str, default: str, meaning: str) -> str:
        value = self._read(name, default, meaning)
        return default if value is None else value

    def secret(self, name: str, meaning: str) -> str:
        """As `text`, never echoed and without a default."""
        return self._read(name, None, meaning) or ""

    def choice(self, name: str, default: str, choices: tuple[str, ...], meaning: str) -> str:
        value = self.text(name, default, meaning)
        if value not in choices:
            raise ConfigError(name, f"is {value!r}; it must be one of {', '.join(choices)}")
        return value

    def flag(self, name: str, default: bool, meaning: str) -> bool:
        value = self._read(name, str(default).lower(), meaning)
        if value is None:
            return default
        if value.lower() in {"1", "true", "yes", "on"}:
            return True
        if value.lower() in {"0", "false", "no", "off"}:
            return False
        raise ConfigError(name, f"is {value!r}; it must be true or false")

    def number(self, name: str, default: float, meaning: str, *, low: float, high: float) -> float:
        value = self._read(name, default, meaning)
        return default if value is None else self._within(name, value, float, "a number", low, high)

    def whole(self, name: str, default: int, meaning: str, *, low: int, high: int) -> int:
        value = self._read(name, default, meaning)
        return default if value is None else self._within(name, value, int, "a whole number", low, high)

    def port(self, name: str, default: int, meaning: str) -> int:
        return self.whole(name, default, meaning, low=1, high=65535)

    def words(self, name: str, default: str, meaning: str) -> list[str]:
        """A list separated by commas."""
        return [word.strip() for word in self.text(name, default, meaning).split(",") if word.strip()]

    def path(self, name: str, default: Path | None, meaning: str, *, shown_default: str = "") -> Path | None:
        value = self._read(name, shown_default, meaning)
        return default if value is None else Path(value).expanduser().resolve()

    def file(self, name: str, meaning: str) -> Path | None:
        """A file that must exist when it is named."""
        path = self.path(name, None, meaning)
        if path is not None and not path.is_file():
            raise ConfigError(name, f"names {path}, which is no file")
        return path

    def parsed(self, name: str, default: str, parse: Callable[[str], Any], meaning: str) -> Any:
        """`parse` raises ValueError with a sentence that says what is wrong."""
        value = self.text(name, default, meaning)
        try:
            return parse(value)
        except json.JSONDecodeError as error:
            raise ConfigError(name, f"is not JSON: {error}") from error
        except ValueError as error:
            raise ConfigError(name, str(error)) from error

    @staticmethod
    def _within(name: str, value: str, kind: type[Number], words: str, low: Number, high: Number) -> Number:
        try:
            number = kind(value)
        except ValueError as error:
            raise ConfigError(name, f"is {value!r}; it must be {words}") from error
        if not low <= number <= high:
            raise ConfigError(name, f"is {value}; it must be between {low} and {high}")
        return number


def matching(pattern: str, words: str) -> Callable[[str], str]:
    """A `parse` for `Env.parsed`: the whole text must match; empty passes. `words` say what would be right."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if text and not compiled.fullmatch(text):
            raise ValueError(f"is {text!r}; it must be {words}")
        return text

    return check


def importable(text: str) -> str:
    """A `parse` for `Env.parsed`: the dotted name of a class that can be imported."""
    module, _, _ = text.rpartition(".")
    try:
        found = bool(module) and importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise ValueError(f"is {text!r}; there is no such module")
    return text


def named_keys(text: str) -> dict[str, bytes]:
    """A `parse` for `Env.parsed`: `id:key` with commas, in order; a key is the base64 of 32 bytes.

    No message quotes any part of the value, ids included: where a key was put in the id's place, it would show it.
    """
    keys: dict[str, bytes] = {}
    for number, entry in enumerate(text.split(",") if text else [], start=1):
        key_id, colon, encoded = (part.strip() for part in entry.partition(":"))
        if not colon:
            raise ValueError(f"entry {number} is not `id:key`")
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", key_id):
            raise ValueError(f"the id of entry {number} must be 1 to 64 letters, digits, `.`, `_` and `-`")
        if key_id in keys:
            raise ValueError(f"the id of entry {number} is taken by an entry before it")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise ValueError(f"the key of entry {number} must be the base64 of 32 bytes")
        keys[key_id] = key
    return keys


env = Env(os.environ)
