"""JSON read strictly: only what JSON knows, and PostgreSQL can hold as a number."""

import json
import math
from typing import Any, NoReturn


def read_json(text: str) -> Any:
    """Errors: ValueError with what is wrong; RecursionError when it nests too deep."""
    return json.loads(text, parse_constant=_refused, parse_float=_finite)


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number
