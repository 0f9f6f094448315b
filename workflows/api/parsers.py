"""JSON bodies, read strictly: what PostgreSQL or the workflow language cannot hold is refused here."""

from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from workflows.strict_json import read_json


class StrictJsonParser(BaseParser):
    media_type = "application/json"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Errors: ParseError with what is wrong; the sender must act."""
        try:
            return read_json(stream.read().decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ParseError(f"the body is not UTF-8: {error}") from error
        except RecursionError as error:
            raise ParseError("the body nests too deep") from error
        except ValueError as error:
            raise ParseError(f"the body is not JSON: {error}") from error
