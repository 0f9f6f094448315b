"""Strict JSON parser: it accepts only what JSON defines, and only numbers that PostgreSQL can store."""

import json
import math
from typing import Any, NoReturn


def read_json(text: str) -> Any:
    """Parse a JSON text.

    Errors: ValueError for a text that is not JSON; RecursionError for JSON that is nested too deeply.
    The sender must act.
    """
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number
