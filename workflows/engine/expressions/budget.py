"""What one evaluation may still do: counted, so the verdict is the same on every machine and on replay.

Rule: a loop pays before it runs, from the number of its items and the weight of what it evaluates for each; an operator
that looks into values pays as it goes. What is made pays its estimated bytes. Nothing here reads a clock.
"""

from __future__ import annotations

from workflows.engine.expressions import errors, limits

# Units: bytes. Estimates of what CPython keeps for a value; part of the contract, so never measured at run time.
ARRAY_ITEM = 40
OBJECT = 256
OBJECT_ENTRY = 64
TUPLE = 400
COMPARED_CHARS_PER_STEP = 1024


class Budget:
    """The counters of one evaluation, and its time (`now_ms`); never shared between two."""

    __slots__ = ("now_ms", "produced", "steps")

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.steps = limits.MAX_STEPS
        self.produced = limits.MAX_PRODUCED

    def spend(self, steps: int) -> None:
        """Pay for work that is about to be done. Errors: ExpressionError EXPRESSION_BUDGET."""
        self.steps -= steps
        if self.steps < 0:
            raise errors.ExpressionError(
                errors.BUDGET, f"The expression needs more than {limits.MAX_STEPS} evaluation steps"
            )

    def enter(self, depth: int) -> None:
        """Refuse to follow a value deeper than may be, whatever the stack has left. Errors: EXPRESSION_BUDGET."""
        if depth > limits.MAX_VALUE_DEPTH:
            raise errors.ExpressionError(
                errors.BUDGET, f"A value is nested more than {limits.MAX_VALUE_DEPTH} levels deep"
            )

    def produce(self, size: int) -> None:
        """Pay for values that are about to be made. Units: estimated bytes. Errors: EXPRESSION_BUDGET."""
        self.produced -= size
        if self.produced < 0:
            raise errors.ExpressionError(errors.BUDGET, "The expression makes more intermediate values than allowed")

    def spend_text(self, text: str) -> None:
        """Pay for reading a string through."""
        if len(text) > COMPARED_CHARS_PER_STEP:
            self.spend(len(text) // COMPARED_CHARS_PER_STEP)

    def produce_text(self, length: int) -> None:
        """Pay for a new string. Units: characters, at the most that one of them takes."""
        self.produce(4 * length)
