"""Limits of the expression contract. All of them are counted; none depends on time.

Rule: a limit is part of the contract's version. A changed limit can change the result of an expression, so increase
`contract.EXPRESSION_CONTRACT_VERSION` with it.
"""

from __future__ import annotations

# Limits of a source. Units: characters, tokens, levels of nesting, steps of a path.
MAX_SOURCE_LENGTH = 32_768
MAX_TOKENS = 3_072
MAX_NESTING = 200
MAX_PATH_STEPS = 256

# Limit of an evaluation. A step is one evaluation of one node, or one value that an operator reads.
MAX_STEPS = 200_000
# Limit of all values that an evaluation makes, also of those that are no longer used.
# Units: bytes, estimated from counts (see `budget`).
MAX_PRODUCED = 24 * 1024 * 1024
# Limit for a value that is compared or written as text. Wildcards and fields may go to any depth. Units: levels.
MAX_VALUE_DEPTH = 500

# Limits of a result. Units: UTF-16 code units of its compact JSON; levels of arrays and objects.
MAX_RESULT_LENGTH = 256 * 1024
MAX_RESULT_DEPTH = 200

# Size of the cache of compiled expressions. Units: characters of source; every entry costs CACHE_ENTRY_COST more.
CACHE_ROOM = 512 * 1024
CACHE_ENTRY_COST = 64
