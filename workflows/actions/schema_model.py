"""Input and output models of actions that are described by a JSON Schema and not by a Pydantic model."""

from types import new_class
from typing import Any, ClassVar

from pydantic import RootModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from workflows.engine.json_schema.check import MAX_PROBLEMS, value_problems
from workflows.engine.json_schema.links import LinkedSchema, link_schema


class SchemaModel(RootModel[Any]):
    """Model of any JSON value that matches a JSON Schema. `schema_model` creates a subclass for each schema."""

    json_schema: ClassVar[Any] = True
    linked: ClassVar[LinkedSchema]

    @classmethod
    def model_validate(cls, obj: Any, **_options: Any) -> "SchemaModel":
        """Return the model of a value.

        Errors: ValidationError with one entry for each problem. It contains no value.
        """
        if isinstance(obj, SchemaModel):
            obj = obj.root
        problems = value_problems(cls.linked, obj, max_problems=MAX_PROBLEMS)
        if problems:
            raise ValidationError.from_exception_data(
                cls.__name__,
                [
                    InitErrorDetails(
                        type=PydanticCustomError("json_schema", "{message}", {"message": problem["message"]}),
                        loc=tuple(problem["pointer"].split("/")[1:]),
                        input=None,
                    )
                    for problem in problems
                ],
            )
        return cls.model_construct(obj)

    @classmethod
    def model_json_schema(cls, *_arguments: Any, **_options: Any) -> dict[str, Any]:
        schema = cls.json_schema
        return schema if isinstance(schema, dict) else {}


def schema_model(name: str, schema: Any) -> type[SchemaModel]:
    """Return a model whose values match the JSON Schema."""
    model: type[SchemaModel] = new_class(name, (SchemaModel,))
    model.json_schema = schema
    model.linked = link_schema(schema)
    return model
