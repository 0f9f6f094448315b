"""The limits of the contract, all of them counted, none of them timed.

Rule: a limit is part of the contract's version. To change one changes verdicts, so raise
`contract.EXPRESSION_CONTRACT_VERSION` with it.
"""

from __future__ import annotations

# Of a source.
MAX_SOURCE_LENGTH = 32_768
MAX_TOKENS = 3_072
MAX_NESTING = 200
MAX_PATH_STEPS = 256

# Of an evaluation. A step is one node of the expression evaluated once, or one value looked at by an operator.
MAX_STEPS = 200_000
# Units: bytes, estimated from counts (see `budget`), of everything an evaluation makes, alive or not.
MAX_PRODUCED = 24 * 1024 * 1024
# Units: levels of a value that is compared or written as text; wildcards and fields go to any depth.
MAX_VALUE_DEPTH = 500

# Of a result. Units: UTF-16 code units of its compact JSON; levels of arrays and objects.
MAX_RESULT_LENGTH = 256 * 1024
MAX_RESULT_DEPTH = 200

# Of the cache of compiled expressions. Units: characters of source; every entry counts for some more.
CACHE_ROOM = 512 * 1024
CACHE_ENTRY_COST = 64
