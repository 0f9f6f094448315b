"""Parser of JSON bodies. It refuses numbers that PostgreSQL or the workflow language cannot store."""

from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from workflows.strict_json import JsonRefused, read_json


class StrictJsonParser(BaseParser):
    media_type = "application/json"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Return the parsed body.

        Errors: ParseError. The API client must act.
        """
        try:
            return read_json(stream.read().decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ParseError(f"The body is not UTF-8: {error}. Send JSON in UTF-8.") from error
        except RecursionError as error:
            raise ParseError("The body is nested too deeply. Send fewer levels of objects and arrays.") from error
        except JsonRefused as error:
            raise ParseError(f"The body cannot be accepted: {error}.") from error
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {error}.") from error
