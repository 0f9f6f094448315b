"""JSON types of the input fields of the `transform.*` actions, for validation before publishing.

The functions in `transforms` check the same at run time. A name that ends with `?` is optional.
"""

_TYPES: dict[str, dict[str, str]] = {
    "pick": {"value": "object", "keys": "array"},
    "omit": {"value": "object", "keys": "array"},
    "merge": {"values": "array"},
    "join": {"values": "array", "separator?": "string"},
    "split": {"text": "string", "separator": "string"},
    "unique": {"values": "array"},
    "sort": {"values": "array", "by?": "string", "descending?": "boolean"},
    "chunk": {"values": "array", "size": "number"},
    "template": {"template": "string", "values?": "object"},
}


def transform_required(action_id: str) -> tuple[tuple[str, ...], ...]:
    """Return the required fields of a transform, in the form of `InputFields.required`."""
    return tuple((name,) for name in _types(action_id) if not name.endswith("?"))


def transform_types(action_id: str) -> dict[str, frozenset[str]]:
    """Return the accepted JSON types of the fields of a transform, in the form of `InputFields.types`."""
    return {name.rstrip("?"): frozenset({kind}) for name, kind in _types(action_id).items()}


def _types(action_id: str) -> dict[str, str]:
    return _TYPES.get(action_id.removeprefix("transform."), {})
