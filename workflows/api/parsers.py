"""JSON bodies, read strictly: what PostgreSQL or the workflow language cannot hold is refused here."""

import json
import math
from typing import Any, NoReturn

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser


class StrictJsonParser(BaseParser):
    media_type = "application/json"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Errors: ParseError with what is wrong; the sender must act."""
        try:
            return json.loads(stream.read().decode("utf-8"), parse_constant=_refused, parse_float=_finite)
        except UnicodeDecodeError as error:
            raise ParseError(f"the body is not UTF-8: {error}") from error
        except RecursionError as error:
            raise ParseError("the body nests too deep") from error
        except ValueError as error:
            raise ParseError(f"the body is not JSON: {error}") from error


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number
