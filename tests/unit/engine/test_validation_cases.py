"""Problems that validation finds, from the table of cases, and their places in the text."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.factories import expr
from tests.unit.engine.validation_cases import CASES, GOOD, STATE, Case, assign, call, flow, known_of
from workflows.engine.json_schema.links import link_schema
from workflows.engine.validate import MAX_PROBLEMS, validate
from workflows.engine.validation.codes import CODES, Severity, codes_table

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case: Case) -> None:
    found = validate(case.document, known_of(case))
    assert [(problem.code, problem.pointer) for problem in found] == [(case.code, case.pointer)]
    assert found[0].as_object()["severity"] == case.severity
    assert (found[0].suggestion is None) == (case.suggestion is None), found[0].suggestion
    assert case.suggestion is None or case.suggestion in str(found[0].suggestion)


@pytest.mark.parametrize(("document", "known"), [good[1:] for good in GOOD], ids=[good[0] for good in GOOD])
def test_definition_without_a_problem(document: dict[str, Any], known: dict[str, Any]) -> None:
    assert validate(document, known_of(Case("", None, "", "", known=known))) == []


def test_cases_are_many_and_their_names_differ() -> None:
    assert len(CASES) >= 130
    assert {case.code for case in CASES} == CODES.keys() - {"JSON_INVALID", "PROBLEMS_CUT"}  # texts and long lists
    assert len({case.name for case in CASES}) == len(CASES)


def test_docs_have_the_table_of_codes() -> None:
    docs = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    between = docs.partition("<!-- problem codes: begin -->")[2].partition("<!-- problem codes: end -->")[0]
    assert between.strip() == codes_table().strip()  # manage.py print_problem_codes prints the table


# -- Places in the text ------------------------------------------------------------------------------------------------


def place(text: str, code: str) -> str:
    """Validate a text, and return the rest of the line at the place of the problem with this code."""
    found = validate(json.loads(text), known_of(CASES[0]), text=text)
    problem = next(problem for problem in found if problem.code == code)
    return text.split("\n")[problem.line - 1][problem.column - 1 :]


def written(document: object, **options: object) -> str:
    return json.dumps(document, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("indent", [None, 2])
def test_place_is_the_value_the_key_or_the_object_around_it(indent: int | None) -> None:
    mistakes = flow(STATE, {**STATE, "id": "b", "config": {"state": 7, "extra": 1}}, call("x.y"), version=2)
    text = written(mistakes, indent=indent)
    assert place(text, "FIELD_INVALID").startswith("7")
    assert place(text, "KEY_UNKNOWN").startswith('"extra": 1')
    assert place(text, "ACTION_UNKNOWN").startswith('"x.y"')
    assert place(text, "STEP_ID_TWICE").startswith('"a"')
    missing = written(flow({"id": "a", "type": "state.set", "config": {}}), indent=indent)
    assert place(missing, "FIELD_MISSING").startswith("{}")


@pytest.mark.parametrize(
    ("source", "rest"),
    [
        ("payload.a + lenght(x)", "lenght(x)"),
        ('"\t\\n\n" & lenght(x)', "lenght(x)"),
        ("'\U0001f600\u00e4' & lenght(x)", "lenght(x)"),
        ('"\\\\" & lenght(x)', "lenght(x)"),
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_place_inside_an_expression_counts_escapes_of_the_text(source: str, rest: str, ascii_only: bool) -> None:
    text = written(flow(assign("x", expr(source))), ensure_ascii=ascii_only, indent=1)
    assert place(text, "EXPRESSION_FUNCTION_NOT_ALLOWED").startswith(rest)


def test_problems_are_in_the_order_of_the_text() -> None:
    text = (
        '{"steps": [{"id": "a", "type": "nope"}],\r\n "version": 0, "payloadSchemaRef": "payload.Any.v1",\n "id": "X",'
    )
    text += ' "name": "N"}'
    found = validate(json.loads(text), known_of(CASES[0]), text=text)
    assert [(problem.code, problem.line, problem.column) for problem in found] == [
        ("STEP_TYPE_UNKNOWN", 1, 32),
        ("FIELD_INVALID", 2, 13),
        ("KEY_INVALID", 3, 8),
    ]


# -- Limits ------------------------------------------------------------------------------------------------------------


def test_warnings_never_hide_an_error_and_the_list_is_limited() -> None:
    many = {f"$k{number}": 1 for number in range(MAX_PROBLEMS + 50)}
    found = validate(flow(assign("x", many), {**STATE, "id": "b", "config": {"state": 7}}), known_of(CASES[0]))
    codes = [problem.code for problem in found]
    assert (codes.count("KEY_DOLLAR"), codes.count("FIELD_INVALID")) == (MAX_PROBLEMS, 1)
    assert "PROBLEMS_CUT" in codes
    errors = validate(flow(*[{} for _ in range(5_000)]), known_of(CASES[0]))
    assert len([problem for problem in errors if problem.is_error]) == MAX_PROBLEMS


def test_suggestions_have_a_limit_of_their_own() -> None:
    names = {f"flow-{number}": frozenset({1}) for number in range(5_000)}
    steps = [
        {"id": f"c{number}", "type": "control.callWorkflow", "workflowId": f"flo-{number}", "workflowVersion": 1}
        for number in range(100)
    ]
    found = validate(flow(*steps), known_of(Case("", None, "", "", known={"workflows": names})))
    assert len(found) == 100
    assert 0 < len([problem for problem in found if problem.suggestion]) < 10


def test_hostile_schemas_and_chains_of_variables_end_without_a_type() -> None:
    levels = {f"d{number}": {"anyOf": [{"$ref": f"#/$defs/d{number + 1}"}] * 4} for number in range(30)}
    schema = {"$defs": {**levels, "d30": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/d0"}}}
    for hostile in ({"$ref": "#"}, {"type": "object", **schema}):
        linked = link_schema(hostile)
        known = Case("", None, "", "", known={"schema_of": lambda ref, linked=linked: linked})
        assert validate(flow(assign("x", expr("payload.a + 1"))), known_of(known)) == []
    chain = [assign(f"v{number}", expr(f"v{number + 1}"), f"s{number}") for number in range(1, 600)]
    found = validate(flow(*chain, assign("v600", "text", "t"), assign("x", expr("v1 + 1"))), known_of(CASES[0]))
    assert {problem.code for problem in found} == {"VARIABLE_UNASSIGNED", "PROBLEMS_CUT"}
    near = [assign("v1", "text"), assign("v0", expr("v1"), "b"), assign("x", expr("v0 + 1"), "c")]
    assert [problem.code for problem in validate(flow(*near), known_of(CASES[0]))] == ["TYPE_MISMATCH"]


def test_every_code_has_a_severity_and_shape_codes_are_errors() -> None:
    assert all(code.severity is Severity.ERROR for code in CODES.values() if code.is_shape)
