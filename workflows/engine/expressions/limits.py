"""Limits of the expression contract. All limits are counts; none depends on time.

Rule: a limit is part of the contract's version. A changed limit can change the result of an expression. If you change a
limit, also increase `contract.EXPRESSION_CONTRACT_VERSION`.
"""

from __future__ import annotations

# Limits of a source. Units: characters, tokens, levels of nesting, steps of a path.
MAX_SOURCE_LENGTH = 32_768
MAX_TOKENS = 3_072
MAX_NESTING = 200
MAX_PATH_STEPS = 256

# Limit of an evaluation. A step is one evaluation of one node, or one value that an operator reads.
MAX_STEPS = 200_000
# Limit of all values that an evaluation makes. Values that are no longer used count too. Units: bytes, estimated from
# counts (see `budget`).
MAX_PRODUCED = 24 * 1024 * 1024
# Depth limit for a value that is compared or written as text. The limit does not apply to wildcards and fields. Units:
# levels.
MAX_VALUE_DEPTH = 500

# Limits of a result. The first limit is the length of its compact JSON in UTF-16 code units. The second is the number
# of levels of arrays and objects.
MAX_RESULT_LENGTH = 256 * 1024
MAX_RESULT_DEPTH = 200

# Size of the cache of compiled expressions. Units: characters of source. Each entry also counts as CACHE_ENTRY_COST
# characters.
CACHE_ROOM = 512 * 1024
CACHE_ENTRY_COST = 64
