"""Inputs and outputs of the `store.*` actions.

In JSON, field names are in camelCase. These models refuse values over a limit. The error has the path of the value.
"""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    model_validator,
)
from pydantic.alias_generators import to_camel

from workflows.actions.inputs import ActionInput
from workflows.engine.sizes import json_size
from workflows.engine.storable import storable_problem

MAX_VALUE_BYTES = 65_536
MAX_TTL_SECONDS = 10 * 365 * 24 * 3600


def _storable(value: Any) -> Any:
    problem = storable_problem(value)
    if problem is not None:
        raise ValueError(f"{problem[1]} (at {problem[0] or '/'})")
    return value


def _small(value: Any) -> Any:
    size = json_size(_storable(value))
    if size > MAX_VALUE_BYTES:
        raise ValueError(f"has {size} bytes; {MAX_VALUE_BYTES} are allowed")
    return value


def _free(namespace: str) -> str:
    if namespace.startswith("_"):
        raise ValueError("namespaces that start with _ are reserved for Pointsman; use another name")
    return namespace


Text = Annotated[str, Field(max_length=200), AfterValidator(_storable)]
Key = Annotated[Text, Field(min_length=1)]


class StoreInput(ActionInput):
    """Common fields of all inputs. Errors use the camelCase name of a field, like the documentation."""

    model_config = ConfigDict(loc_by_alias=True)

    namespace: Annotated[Key, AfterValidator(_free)] = "default"


class StoreOutput(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True)


class Expiring(StoreInput):
    """Input with an expiry. Units: `ttlSeconds` is in seconds."""

    ttl_seconds: float | None = Field(default=None, gt=0, le=MAX_TTL_SECONDS)
    expires_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.ttl_seconds is not None and self.expires_at is not None:
            raise ValueError("set either ttlSeconds or expiresAt, not both")
        return self


class StoreGetInput(StoreInput):
    key: Key


class StoreSetInput(Expiring):
    key: Key
    value: Annotated[Any, AfterValidator(_small)]
    only_if_absent: bool = False
    expected_version: int | None = Field(default=None, ge=1)
    if_revision: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        given = (self.only_if_absent, self.expected_version is not None, self.if_revision is not None)
        if sum(given) > 1:
            raise ValueError("set only one of onlyIfAbsent, expectedVersion and if_revision")
        return self


class StoreDeleteInput(StoreInput):
    key: Key
    expected_version: int | None = Field(default=None, ge=1)
    if_revision: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        if self.expected_version is not None and self.if_revision is not None:
            raise ValueError("set only one of expectedVersion and if_revision")
        return self


class StoreIncrementInput(Expiring):
    """Input of `store.increment`. The expiry applies only to a new entry. An existing entry keeps its own expiry."""

    key: Key
    by: StrictInt | Annotated[StrictFloat, Field(allow_inf_nan=False)] = 1


class StoreListInput(StoreInput):
    prefix: Text = ""
    limit: int = Field(default=100, ge=1, le=1000)
    cursor: Key | None = None


class StoreGetOutput(StoreOutput):
    """Output of `store.get`. `revision` is the version of the entry, or 0 if there is no entry."""

    found: bool
    value: Any = None
    version: int | None = None
    revision: int = 0
    expires_at: datetime | None = None


class StoreSetOutput(StoreOutput):
    version: int
    revision: int
    created: bool


class StoreDeleteOutput(StoreOutput):
    deleted: bool


class StoreIncrementOutput(StoreOutput):
    value: int | float
    version: int
    revision: int


class StoreListEntry(StoreOutput):
    key: str
    value: Any
    version: int
    revision: int
    expires_at: datetime | None


class StoreListOutput(StoreOutput):
    entries: list[StoreListEntry]
    next_cursor: str | None = None
