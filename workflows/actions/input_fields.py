"""Input fields of the registered actions, read from the Pydantic models of the actions."""

from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, AliasPath, BaseModel, RootModel
from pydantic.fields import FieldInfo

from workflows.actions.field_types import field_types
from workflows.actions.registry import registered_actions
from workflows.engine.action_fields import InputFields
from workflows.engine.transform_types import transform_required, transform_types
from workflows.engine.transforms import TRANSFORM_FIELDS

# Validators of the portal's own models. They accept no fields that the model does not have.
_HARMLESS = frozenset({"_one_spelling"})
_DEPTH = 8


def registered_input_fields() -> dict[tuple[str, int], InputFields]:
    """Return the input fields by action id and version. An action that accepts any field has no entry."""
    found: dict[tuple[str, int], InputFields] = {
        key: InputFields(names, required=transform_required(key[0]), types=transform_types(key[0]))
        for key, names in TRANSFORM_FIELDS.items()
    }
    for action in registered_actions():
        fields = model_fields(action.input_model)
        if fields is not None:
            found[action.id, action.version] = fields
    return found


@cache
def model_fields(model: type[BaseModel], depth: int = 0) -> InputFields | None:
    """Return the field names of a model.

    Return None if the model accepts other names too, or if this cannot be known.
    """
    validators = model.__pydantic_decorators__.model_validators
    rewrites = any(found.info.mode != "after" and name not in _HARMLESS for name, found in validators.items())
    if issubclass(model, RootModel) or rewrites or model.model_config.get("extra") == "allow" or depth > _DEPTH:
        return None
    names: set[str] = set()
    below: dict[str, InputFields] = {}
    required: list[tuple[str, ...]] = []
    types: dict[str, frozenset[str]] = {}
    for name, info in model.model_fields.items():
        spellings = _spellings(name, info, model)
        names |= spellings
        if info.is_required():
            required.append(tuple(sorted(spellings, key=lambda spelling: (spelling != name, spelling))))
        accepted = field_types(model, name)
        if accepted is not None:
            types |= dict.fromkeys(spellings, accepted)
        inner = _below(info.annotation, depth + 1)
        if inner is not None:
            below |= dict.fromkeys(spellings, inner)
    return InputFields(
        frozenset(names),
        below,
        are_refused=model.model_config.get("extra") == "forbid",
        required=tuple(required),
        types=types,
    )


def _spellings(name: str, info: FieldInfo, model: type[BaseModel]) -> set[str]:
    config = model.model_config
    alias = info.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    found = {str(choice.path[0]) if isinstance(choice, AliasPath) else choice for choice in choices if choice}
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    return {*found, name} if by_name or not found else found


def _below(annotation: Any, depth: int) -> InputFields | None:
    """Return the fields of the model in an annotation such as `list[Model] | None`.

    Return None if the annotation does not have exactly one model.
    """
    models = _models(annotation)
    if models is None or len(models) != 1:
        return None
    return model_fields(next(iter(models)), depth)


def _models(annotation: Any) -> set[type[BaseModel]] | None:
    """Return the models of an annotation. Return None if the annotation also accepts objects of another kind."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    if annotation is Any or annotation is object or annotation is dict or origin is dict:
        return None
    if origin is Annotated:
        return _models(get_args(annotation)[0])
    if origin in (list, set, tuple, Union, UnionType):
        parts = [_models(part) for part in get_args(annotation)]
        found = [part for part in parts if part is not None]
        return set().union(*found) if len(found) == len(parts) else None
    return set()
