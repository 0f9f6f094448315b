"""Budget of one evaluation. It counts steps and bytes, so the result is the same on every machine and on replay.

Rule: pay before the work is done. A loop pays before it runs: the number of its items times the weight of the code in
the loop. An operator that reads nested values pays while it reads. A new value costs its estimated bytes. This module
reads no clock.
"""

from __future__ import annotations

from workflows.engine.expressions import errors, limits

# Estimated memory of a value in CPython. These numbers are part of the contract, so they are never measured at run
# time. Units: bytes.
ARRAY_ITEM = 40
OBJECT = 256
OBJECT_ENTRY = 64
TUPLE = 400
COMPARED_CHARS_PER_STEP = 1024


class Budget:
    """Counters and time (`now_ms`) of one evaluation. Two evaluations never share a budget.

    If `exact` is True, whole numbers keep all their digits (contract version 2).
    """

    __slots__ = ("exact", "now_ms", "produced", "steps")

    def __init__(self, now_ms: int, exact: bool = True) -> None:
        self.now_ms = now_ms
        self.exact = exact
        self.steps = limits.MAX_STEPS
        self.produced = limits.MAX_PRODUCED

    def spend(self, steps: int) -> None:
        """Pay for work before it is done.

        Errors: ExpressionError EXPRESSION_BUDGET; the author must act.
        """
        self.steps -= steps
        if self.steps < 0:
            raise errors.ExpressionError(
                errors.BUDGET,
                f"The expression needs more than {limits.MAX_STEPS} evaluation steps. Process less data at once",
            )

    def enter(self, depth: int) -> None:
        """Refuse a value that is nested too deep.

        The limit does not depend on the free space on the interpreter's stack.
        Errors: ExpressionError EXPRESSION_BUDGET past `MAX_VALUE_DEPTH`; the author must act.
        """
        if depth > limits.MAX_VALUE_DEPTH:
            raise errors.ExpressionError(
                errors.BUDGET, f"A value is nested deeper than {limits.MAX_VALUE_DEPTH} levels"
            )

    def produce(self, size: int) -> None:
        """Pay for new values before they are made.

        Units: estimated bytes.
        Errors: ExpressionError EXPRESSION_BUDGET; the author must act.
        """
        self.produced -= size
        if self.produced < 0:
            raise errors.ExpressionError(
                errors.BUDGET,
                f"The intermediate values of the expression need more than {limits.MAX_PRODUCED} bytes. "
                "Process less data at once",
            )

    def spend_text(self, text: str) -> None:
        """Pay for reading a whole string."""
        if len(text) > COMPARED_CHARS_PER_STEP:
            self.spend(len(text) // COMPARED_CHARS_PER_STEP)

    def produce_text(self, length: int) -> None:
        """Pay for a new string: 4 bytes per character, because this is the largest size of a character in CPython.

        Units: characters.
        """
        self.produce(4 * length)
