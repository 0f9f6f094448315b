"""Typed reads of environment variables.

A wrong value raises `ConfigError` with the variable's name, the value and the allowed values. `manage.py` and the other
entry points print the error and stop. `DECLARED` keeps every variable that was read, and a test compares it with the
README's configuration table.
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
    """An environment variable is missing or has a wrong value.

    The operator who starts the process must set or correct the variable.
    """

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
    """Reader of one environment. This is the environment of the process, or a dictionary in a test.

    `meaning` is the description of the variable in the README. A variable with an empty value counts as not set.
    Errors: every method raises ConfigError for a value that it cannot use.
    """

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
        """Return the value, or "" if the variable is not set. The value never appears in an error message."""
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
        """Return the words of a list. Commas separate the words."""
        return [word.strip() for word in self.text(name, default, meaning).split(",") if word.strip()]

    def path(self, name: str, default: Path | None, meaning: str, *, shown_default: str = "") -> Path | None:
        value = self._read(name, shown_default, meaning)
        return default if value is None else Path(value).expanduser().resolve()

    def file(self, name: str, meaning: str) -> Path | None:
        """Return the path of an existing file, or None if the variable is not set."""
        path = self.path(name, None, meaning)
        if path is not None and not path.is_file():
            raise ConfigError(name, f"is {path}, which is not a file; correct the path")
        return path

    def parsed(self, name: str, default: str, parse: Callable[[str], Any], meaning: str) -> Any:
        """Return the parsed value. The message of a ValueError from `parse` becomes the message of the ConfigError."""
        value = self.text(name, default, meaning)
        try:
            return parse(value)
        except json.JSONDecodeError as error:
            raise ConfigError(name, f"is not valid JSON: {error}") from error
        except ValueError as error:
            raise ConfigError(name, str(error)) from error

    @staticmethod
    def _within(name: str, value: str, kind: type[Number], expected: str, low: Number, high: Number) -> Number:
        try:
            number = kind(value)
        except ValueError as error:
            raise ConfigError(name, f"is {value!r}; it must be {expected}") from error
        if not low <= number <= high:
            raise ConfigError(name, f"is {value}; it must be between {low} and {high}")
        return number


def matching(pattern: str, expected: str) -> Callable[[str], str]:
    """Return a `parse` function for `Env.parsed` that accepts an empty text and any text that matches the pattern."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if text and not compiled.fullmatch(text):
            raise ValueError(f"is {text!r}; it must be {expected}")
        return text

    return check


def importable(text: str) -> str:
    """Return the dotted name of a class if its module exists. Use this as a `parse` function for `Env.parsed`."""
    if not _is_module(text.rpartition(".")[0]):
        raise ValueError(f"is {text!r}, but this module does not exist; give the dotted name of a class")
    return text


def installed_apps(text: str) -> list[str]:
    """Return the names of Django apps in a list such as `shop,billing`.

    Use this as a `parse` function for `Env.parsed`. An app is the dotted name of its
    package, or of its `AppConfig` class, as in Django's INSTALLED_APPS.

    Errors: ValueError if the name of an app is wrong, is repeated, or belongs to no installed package.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name):
            raise ValueError(f"has the entry {name!r}; an entry is the dotted name of a Django app")
        if names.count(name) > 1:
            raise ValueError(f"has the entry {name!r} twice; list each app once")
        if not _is_module(name) and not _is_module(name.rpartition(".")[0]):
            raise ValueError(f"has the entry {name!r}, but this package is not installed; install it with pip")
    return names


def _is_module(name: str) -> bool:
    try:
        return bool(name) and importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def named_keys(text: str) -> dict[str, bytes]:
    """Return the keys of `id:key,id:key` in their order. Use this as a `parse` function for `Env.parsed`.

    Shapes: a key is the base64 text of 32 bytes.
    Errors: ValueError. Its message repeats no part of the value. It does not even repeat an id, because an operator may
    have entered a key in the place of an id.
    """
    keys: dict[str, bytes] = {}
    for number, entry in enumerate(text.split(",") if text else [], start=1):
        key_id, colon, encoded = (part.strip() for part in entry.partition(":"))
        if not colon:
            raise ValueError(f"entry {number} is not `id:key`")
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", key_id):
            raise ValueError(f"the id of entry {number} must be 1 to 64 letters, digits, `.`, `_` and `-`")
        if key_id in keys:
            raise ValueError(f"the id of entry {number} is used by an earlier entry; use each id once")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise ValueError(f"the key of entry {number} must be the base64 of 32 bytes")
        keys[key_id] = key
    return keys


env = Env(os.environ)
