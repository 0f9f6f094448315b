"""The exception of the expression contract, and its codes.

Rule: a code is part of the contract version (EXPRESSION_CONTRACT_VERSION) that a run keeps. Never rename a code, and
never give a code another meaning.
"""

from __future__ import annotations

SYNTAX = "EXPRESSION_SYNTAX"
FUNCTION_NOT_ALLOWED = "EXPRESSION_FUNCTION_NOT_ALLOWED"
LAMBDA = "EXPRESSION_LAMBDA"
DYNAMIC_CALL = "EXPRESSION_DYNAMIC_CALL"
APPLY = "EXPRESSION_APPLY"
NOT_JSON = "EXPRESSION_NOT_JSON"
TOO_LARGE = "EXPRESSION_TOO_LARGE"
BUDGET = "EXPRESSION_BUDGET"
RUNTIME = "EXPRESSION_RUNTIME"


class ExpressionError(Exception):
    """Error in an expression; the author of the definition must act.

    `position` is None if the error belongs to the whole result. If the reference implementation has a code for this
    error (for example `T2001`), `reference` has this code. Only people read `reference`; the portal must not decide by
    it.
    Units: `position` is a 0-based offset in the author's source in characters, not in UTF-16 units.
    """

    def __init__(
        self,
        code: str,
        message: str,
        position: int | None = None,
        suggestion: str | None = None,
        reference: str | None = None,
    ) -> None:
        super().__init__(code, message, position, suggestion, reference)
        self.code = code
        self.message = message
        self.position = position
        self.suggestion = suggestion
        self.reference = reference

    def __str__(self) -> str:
        where = "" if self.position is None else f" at {self.position}"
        hint = "" if self.suggestion is None else f" (did you mean {self.suggestion!r}?)"
        return f"{self.code}{where}: {self.message}{hint}"
