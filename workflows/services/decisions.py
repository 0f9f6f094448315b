"""Responses to `action.decide_outcome`, the human task about an unknown outcome of an action.

Source: docs/reference/engine.md#unknown-outcomes
"""

from typing import Any

from pydantic import ValidationError

from workflows.actions.lookup import tenant_action
from workflows.models import HumanTask


def decision_parts(response: Any, reason: str) -> tuple[Any, str, dict[str, Any]]:
    """Return the response, the reason for the ledger, and the payload of the ledger row.

    A caller may give the reason inside the response or as a separate field. In the payload of the ledger row, the
    output has the name `output`, because the tenant's redaction rules use this name for the output of an action.
    """
    if not isinstance(response, dict):
        return response, reason, {"response": response}
    if reason and "reason" not in response:
        response = {**response, "reason": reason}
    own = response.get("reason")
    payload = {"response": {name: value for name, value in response.items() if name != "output"}}
    if "output" in response:
        payload["output"] = response["output"]
    return response, reason or (own if isinstance(own, str) else ""), payload


def output_problem(task: HumanTask, response: Any) -> str | None:
    """Check the output with the model of the action. The JSON Schema of the form has only some of the model's rules.

    If this process does not know the action, the output is checked only with the form.
    """
    if not isinstance(response, dict) or "output" not in response:
        return None
    action_id, _, version = str(task.context_data.get("action", "")).rpartition("@")
    if not version.isdecimal():
        return None
    action = tenant_action(tenant_id=task.tenant_id, action_id=action_id, version=int(version))
    if action is None:
        return None
    try:
        action.output_model.model_validate(response["output"])
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"/output/{'/'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return None
