"""API client for tests, and a check of error responses."""

import json
from typing import Any

from django.test import Client


class Api:
    def __init__(self, token: str) -> None:
        self.client = Client(headers={"Authorization": f"Bearer {token}"}, raise_request_exception=False)

    def get(self, path: str) -> Any:
        return self.client.get(f"/api/v1{path}")

    def put(self, path: str, body: Any, **headers: str) -> Any:
        return self.client.put(f"/api/v1{path}", json.dumps(body), content_type="application/json", headers=headers)

    def patch(self, path: str, body: Any, **headers: str) -> Any:
        return self.client.patch(f"/api/v1{path}", json.dumps(body), content_type="application/json", headers=headers)

    def delete(self, path: str, body: Any = None, **headers: str) -> Any:
        data = "" if body is None else json.dumps(body)
        return self.client.delete(f"/api/v1{path}", data, content_type="application/json", headers=headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        data = body if isinstance(body, str | bytes) else json.dumps({} if body is None else body)
        return self.client.post(f"/api/v1{path}", data, content_type="application/json", headers=headers)


def error_of(response: Any, status: int) -> dict[str, Any]:
    """Check that the response is an error with this status, and return the `error` object of its body."""
    assert response.status_code == status, response.content
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "details"}
    return body["error"]
