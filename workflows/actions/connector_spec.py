"""Fields of an HTTP connector, and the check of these fields (docs/reference/engine.md#http-connectors)."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from workflows.actions.connector_templates import INPUT, RESPONSE, template_faults, text_faults
from workflows.actions.http_client import header_name_problem, url_problem
from workflows.engine.json_schema.check import json_pointer, value_problems
from workflows.engine.json_schema.faults import schema_faults
from workflows.engine.json_schema.links import link_schema
from workflows.engine.mapping import is_expression
from workflows.engine.secret_places import secret_references
from workflows.engine.sizes import json_size
from workflows.engine.step_fields import Field as LanguageField
from workflows.engine.storable import storable_problem
from workflows.engine.validation.field_checks import check_field
from workflows.engine.validation.problems import Near

MAX_SPEC_BYTES = 65_536
# The form in which an operator decides about an unknown outcome contains the output schema, so the schema is small.
MAX_SCHEMA_BYTES = 16_000
_ORIGIN = re.compile(r"https?://[^/?#{}\\@]+(?=$|[/?#])")
_PLACE = re.compile(r"\{[^{}]*\}")

Problem = dict[str, str]


def _checked_status(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599
    if not is_number and not (isinstance(value, str) and re.fullmatch("[1-5]xx", value)):
        raise ValueError('must be a status from 100 to 599, or a group of statuses such as "5xx"')
    return value


# A status such as 404, or all statuses with one first digit, such as "5xx".
Status = Annotated[int | str, BeforeValidator(_checked_status)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SuccessRule(_Strict):
    """A response is a success if its status is listed and all filters match `{status, headers, body}`."""

    statuses: list[Status] = Field(default_factory=lambda: list[Status](["2xx"]), min_length=1)
    filters: list[dict[str, Any]] = Field(default_factory=list, max_length=20)


class RetryRule(_Strict):
    """Statuses of failures that a repetition can repair, and the retry policy that the catalogue recommends."""

    statuses: list[Status] = Field(default_factory=lambda: list[Status]([408, 425, 429, "5xx"]))
    max_attempts: int = Field(default=4, ge=1, le=100)
    backoff_ms: int = Field(default=1000, ge=0, le=86_400_000)


class ConnectorSpec(_Strict):
    """Request and response of an HTTP connector.

    Units: `timeout_seconds` is in seconds.
    """

    label: str = Field(min_length=1, max_length=200)
    category: str = Field(default="Connectors", min_length=1, max_length=100)
    description: str = Field(default="", max_length=2000)
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    url: str = Field(min_length=1, max_length=2000)
    query: dict[str, Any] = Field(default_factory=dict)
    headers: dict[str, Any] = Field(default_factory=dict)
    body: Any = None
    body_format: Literal["json", "form"] = "json"
    input_schema: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})
    output: Any = Field(default_factory=lambda: {RESPONSE: "body"})
    output_schema: dict[str, Any] = Field(default_factory=dict)
    success: SuccessRule = Field(default_factory=SuccessRule)
    retry: RetryRule = Field(default_factory=RetryRule)
    idempotency_header: str = Field(default="Idempotency-Key", max_length=200)
    is_idempotent: bool = False
    timeout_seconds: float = Field(default=20, gt=0, le=60)
    examples: list[dict[str, Any]] = Field(default_factory=list, max_length=10)

    def secret_names(self) -> frozenset[str]:
        """Return the names of the secrets in the templates."""
        return frozenset(name for _, name in secret_references([self.query, self.headers, self.body]))


def request_line(spec: dict[str, Any]) -> str:
    """Return the method and the address of a stored connector. A spec without a method has the default one."""
    return f"{spec.get('method', ConnectorSpec.model_fields['method'].default)} {spec.get('url', '')}"


def spec_problems(document: Any) -> list[Problem]:
    """Return all problems of the fields of a connector. The list is empty if the connector can be stored.

    Shapes: `{field, pointer, message}`.
    """
    unstorable = storable_problem(document)
    if unstorable is not None:
        return [_problem("", *unstorable)]
    try:
        spec = ConnectorSpec.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        places = [item["loc"] or ("",) for item in found]  # a spec that is no object has an empty place
        return [
            _problem(str(place[0]), json_pointer(place[1:]), item["msg"])
            for place, item in zip(places[:20], found, strict=False)
        ]
    size = json_size(document)
    if size > MAX_SPEC_BYTES:
        return [_problem("", "", f"the connector has {size} bytes, but at most {MAX_SPEC_BYTES} are allowed")]
    return [*_request_problems(spec), *_response_problems(spec), *_schema_problems(spec)][:20]


def _problem(field: str, pointer: str, message: str) -> Problem:
    return {"field": field, "pointer": pointer, "message": message}


def _request_problems(spec: ConnectorSpec) -> Iterator[Problem]:
    yield from (_problem("url", "", message) for message in _url_faults(spec.url))
    for field in ("query", "headers", "body"):
        for pointer, message in template_faults(getattr(spec, field), INPUT):
            yield _problem(field, pointer, message)
    for name in spec.headers:
        problem = header_name_problem(name)
        if problem:
            yield _problem("headers", json_pointer([name]), problem)
    if spec.idempotency_header:
        problem = header_name_problem(spec.idempotency_header)
        if problem:
            yield _problem("idempotency_header", "", problem)
    if spec.body is not None and spec.method in ("GET", "HEAD"):
        yield _problem("body", "", f"must be null, because a request with the method {spec.method} has no body")
    if spec.body_format == "form" and not isinstance(spec.body, dict):
        yield _problem("body", "", "must be an object if the body is sent as a form")


def _url_faults(url: str) -> Iterator[str]:
    if not _ORIGIN.match(url):
        # A host from the input would let the sender of an event choose which server receives the secrets.
        yield "must begin with http:// or https:// and a fixed host, for example https://crm.example/tickets/{id}"
        return
    faults = list(text_faults(url))
    yield from faults
    problem = None if faults else url_problem(_PLACE.sub("x", url))
    if problem:
        yield problem


def _response_problems(spec: ConnectorSpec) -> Iterator[Problem]:
    for pointer, message in template_faults(spec.output, RESPONSE, takes_secrets=False):
        yield _problem("output", pointer, message)
    for finding in check_field(LanguageField("filters"), spec.success.filters, Near()):
        yield _problem("success", f"/filters{json_pointer(finding.place)}", finding.message)
    for index, condition in enumerate(spec.success.filters):
        if is_expression(condition.get("value")):
            yield _problem("success", f"/filters/{index}/value", "must be a literal, because no run evaluates it")


def _schema_problems(spec: ConnectorSpec) -> Iterator[Problem]:
    for field in ("input_schema", "output_schema"):
        schema = getattr(spec, field)
        faults = schema_faults(schema, max_bytes=MAX_SCHEMA_BYTES)
        yield from (_problem(field, fault["pointer"], fault["message"]) for fault in faults)
        for reference, place in () if faults else link_schema(schema).missing.values():
            message = f"refers to {reference[:120]!r}; the schemas of a connector may refer only to themselves"
            yield _problem(field, json_pointer(place), message)
    for index, example in enumerate(spec.examples):
        for problem in value_problems(link_schema(spec.input_schema), example, max_problems=1):
            message = f"does not match the input schema: {problem['pointer'] or '/'} {problem['message']}"
            yield _problem("examples", f"/{index}", message)
