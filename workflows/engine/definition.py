"""Parsed form of a definition: blocks of steps by path, and the canonical text that is hashed.

The engine reads a definition only from its canonical text. In this text the keys of `assign` and `outputMapping` keep
their order, and the order has meaning (docs/reference/language.md#bundles).

A block is a list of steps. The path of a block is `root`, or the path of a step followed by `.then`, `.else`, `.body`,
`.try` or `.catch`. The path of a step is `<block>.steps[i]`. The frames of a run refer to blocks by path, so that the
state of a run can be serialised.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from workflows.engine.json_text import indented_json

ROOT = "root"
# Fields of control steps that contain blocks.
BLOCK_FIELDS = {
    "control.if": ("then", "else"),
    "control.forEach": ("body",),
    "control.tryCatch": ("try", "catch"),
}
ORDERED_KEYS = frozenset({"assign", "outputMapping"})
FORM_FIELD = "formSchema"
FORM_ORDERED_KEYS = ORDERED_KEYS | {"properties"}


@dataclass(frozen=True)
class RetryPolicy:
    """Retry policy of a step. `max_attempts` counts the first attempt.

    Units: milliseconds for `backoff_ms` and `max_delay_ms`.
    """

    max_attempts: int = 1
    backoff_ms: int = 0
    backoff_multiplier: float = 2
    jitter: bool = True
    max_delay_ms: int | None = None
    retry_on: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Step:
    id: str
    type: str
    path: str
    name: str
    config: dict[str, Any]
    retry: RetryPolicy | None = None
    continues_on_error: bool = False
    blocks: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Definition:
    """Parsed definition. The keys of `blocks` and `owners` are the paths of blocks.

    `owners` names the step that contains the block. The root block is inside no step, so it has no owner.
    """

    id: str
    version: int
    blocks: dict[str, tuple[Step, ...]]
    owners: dict[str, Step] = field(default_factory=dict)


def canonical_text(document: dict[str, Any]) -> str:
    """Return the canonical text of a definition: sorted keys, 2-space indent, trailing newline.

    The keys of an object under one of `ORDERED_KEYS` keep their order. The keys of `properties` inside `formSchema`
    also keep their order, because they are the fields of a form in the author's order. Decimals keep their digits.
    """
    return indented_json(_ordered(document, keep=False)) + "\n"


def definition_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def parse_definition(text: str) -> Definition:
    """Parse the canonical text of a validated definition.

    Errors: KeyError, TypeError or ValueError if the text is not a valid definition. Published definitions are valid.
    """
    document = json.loads(text)
    blocks: dict[str, tuple[Step, ...]] = {}
    _read_block(document["steps"], ROOT, blocks)
    owners = {path: step for steps in blocks.values() for step in steps for path in step.blocks.values()}
    return Definition(id=document["id"], version=document["version"], blocks=blocks, owners=owners)


def _ordered(value: Any, *, keep: bool, is_form: bool = False) -> Any:
    if isinstance(value, dict):
        ordered_keys = FORM_ORDERED_KEYS if is_form else ORDERED_KEYS
        keys = list(value) if keep else sorted(value)
        return {
            key: _ordered(value[key], keep=key in ordered_keys, is_form=is_form or key == FORM_FIELD) for key in keys
        }
    if isinstance(value, list):
        return [_ordered(item, keep=False, is_form=is_form) for item in value]
    return value


def _read_block(documents: list[dict[str, Any]], path: str, blocks: dict[str, tuple[Step, ...]]) -> None:
    blocks[path] = ()  # reserves the key before the blocks inside, so that the blocks stay in document order
    blocks[path] = tuple(
        _read_step(document, f"{path}.steps[{index}]", blocks) for index, document in enumerate(documents)
    )


def _without_nulls(document: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that are not null. A null field means the same as an absent field."""
    return {key: value for key, value in document.items() if value is not None}


def _read_step(document: dict[str, Any], path: str, blocks: dict[str, tuple[Step, ...]]) -> Step:
    document = _without_nulls(document)
    inner = {name: f"{path}.{name}" for name in BLOCK_FIELDS.get(document["type"], ())}
    for name, block_path in inner.items():
        _read_block(document.get(name) or [], block_path, blocks)
    is_control = document["type"].startswith("control.")
    config = document if is_control else _without_nulls(document.get("config", {}))
    # Foreign documents have `onError` inside the config of an action. Validation refuses a step that has `onError` in
    # both places.
    on_error = document.get("onError") or (config.get("onError") if document["type"] == "action.call" else None) or {}
    return Step(
        id=document["id"],
        type=document["type"],
        path=path,
        name=document.get("name", ""),
        config=config,
        retry=_read_retry(document.get("retry")),
        continues_on_error=on_error.get("policy") == "continue",
        blocks=inner,
    )


def _read_retry(document: dict[str, Any] | None) -> RetryPolicy | None:
    if document is None:
        return None
    document = _without_nulls(document)
    retry_on = document.get("retryOn")
    return RetryPolicy(
        max_attempts=document.get("maxAttempts", 1),
        backoff_ms=document.get("backoffMs", 0),
        backoff_multiplier=document.get("backoffMultiplier", 2),
        jitter=document.get("jitter", True),
        max_delay_ms=document.get("maxDelayMs"),
        retry_on=None if retry_on is None else tuple(retry_on),
    )
