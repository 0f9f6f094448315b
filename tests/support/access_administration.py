"""Expected access to the pages of accounts and of administrators."""

from collections.abc import Iterator
from typing import Any

from tests.support.access import NOBODY, PUBLIC, SUPERUSER, Cell
from tests.support.access_cells import (
    ADMIN,
    AUTHOR,
    FORBIDDEN,
    GONE,
    OK,
    REASON,
    REFUSED,
    VIEWER,
    get_cell,
    page_cells,
    post_cell,
    readable_pages,
)


def administration_cells() -> Iterator[Cell]:
    """Yield the cells of the pages for administrators."""
    yield from _connector_pages()
    yield from _secret_pages()
    yield from _token_and_member_pages()
    yield from _tenant_pages()
    yield get_cell("workflows_signinrecord_changelist", ADMIN, shows=True)
    yield post_cell("workflows_signinrecord_changelist", NOBODY, denied_statuses=REFUSED)


def account_cells() -> Iterator[Cell]:
    """Yield the cells of sign-in. Its pages do not depend on a role, and a failed attempt is recorded."""
    for name in ("login", "reset_password", "reset_password_done", "reset_password_from_key_done"):
        for method in ("GET", "POST"):
            statuses = frozenset({405}) if name.endswith("_done") and method == "POST" else OK
            yield _account(f"account_{name}", method, statuses)
    factor_pages = (
        "mfa_index", "mfa_authenticate", "mfa_reauthenticate", "mfa_activate_totp", "mfa_deactivate_totp",
        "mfa_view_recovery_codes", "mfa_generate_recovery_codes", "mfa_add_webauthn", "mfa_remove_webauthn",
        "mfa_login_webauthn", "mfa_reauthenticate_webauthn", "account_reauthenticate",
    )  # fmt: skip
    for method in ("GET", "POST"):
        end = "/account/security/sessions/1/end/"
        yield _account(
            "account_session_end", method, GONE | OK if method == "POST" else OK | frozenset({405}), path=end
        )
        for name in factor_pages:  # rows of the own account; 403 without a password, 404 without a factor
            path = "/account/security/passkeys/1/remove/" if name == "mfa_remove_webauthn" else ""
            yield _account(name, method, OK | FORBIDDEN | GONE | frozenset({405}), path=path)
        for name in ("account_organisation", "openid_connect_login", "openid_connect_callback"):
            path = "/account/oidc/00000000-0000-0000-0000-000000000000/login/"
            where = {} if name == "account_organisation" else {"path": path + "callback/" * name.endswith("callback")}
            is_refused = method == "POST" and name.endswith("callback")
            yield _account(name, method, frozenset({405}) if is_refused else GONE if where else OK, **where)
        yield _account("account_reset_password_from_key", method, OK, path="/account/password/reset/key/1-x/")
        yield _account("account_change_password", method, OK | FORBIDDEN)  # 403 for an account without a password
        yield _account("account_logout", method, OK if method == "POST" else frozenset({405}))


def _account(name: str, method: str, statuses: frozenset[int], **more: Any) -> Cell:
    return Cell(name, method, PUBLIC, statuses=statuses, writes=False, foreign_statuses=None, **more)


def _connector_pages() -> Iterator[Cell]:
    name, row, spec = "workflows_connector", "connector", {"label": "A", "url": "https://example.org/"}
    body = {**spec, "action_id": "a.new", "category": "A", "method": "POST", "body_format": "json", "save_as": "new"}
    yield from readable_pages("connector", row)
    yield get_cell(f"{name}_add", ADMIN)
    yield get_cell(f"{name}_delete", VIEWER, row)
    yield post_cell(f"{name}_add", ADMIN, body=lambda ids: {**body, "timeout_seconds": "5"}, is_recorded=True)
    yield post_cell(f"{name}_change", ADMIN, row, body=lambda ids: {**body, "timeout_seconds": "5"}, is_recorded=True)
    yield post_cell(f"{name}_delete", ADMIN, row, is_recorded=True)
    yield get_cell(f"{name}_test", VIEWER, row)
    yield post_cell(f"{name}_test", AUTHOR, row, body=lambda ids: {"input": "1"}, is_recorded=True)
    yield from page_cells(f"admin:{name}_catalogue", VIEWER)
    yield from page_cells(f"admin:{name}_action", VIEWER, "connector_action", "connector_version")


def _secret_pages() -> Iterator[Cell]:
    name, row = "workflows_secret", "secret"
    body = {"name": "NEW", "value": "a value"}
    yield get_cell(f"{name}_changelist", ADMIN, shows=True)
    yield post_cell(f"{name}_changelist", NOBODY, denied_statuses=REFUSED)
    yield get_cell(f"{name}_change", ADMIN, row, shows=True)
    yield get_cell(f"{name}_history", ADMIN, row)
    yield post_cell(f"{name}_history", ADMIN, row, writes=False)
    yield from page_cells("admin/workflows/secret/<path:object_id>/", VIEWER, row)
    yield get_cell(f"{name}_add", ADMIN)
    yield get_cell(f"{name}_delete", ADMIN, row)
    yield post_cell(f"{name}_add", ADMIN, body=lambda ids: body, is_recorded=True)
    yield post_cell(f"{name}_change", ADMIN, row, body=lambda ids: body, is_recorded=True)
    yield post_cell(f"{name}_delete", ADMIN, row, is_recorded=True)
    yield get_cell("workflows_secret_redaction", ADMIN)
    yield get_cell("sign_in_rules", ADMIN)
    yield post_cell("sign_in_rules", ADMIN, body=lambda ids: {"is_required": ""}, is_recorded=True)
    periods = {"runs": "30", "events": "30", "notifications": "30", "ledger": "365", "sign_ins": "90"}
    confirmed = {**periods, "confirmed": ",".join(periods.values())}
    yield get_cell("retention", ADMIN)
    yield post_cell("retention", ADMIN, body=lambda ids: confirmed, is_recorded=True)
    yield post_cell("workflows_secret_redaction", ADMIN, body=lambda ids: {"rules": "*iban*"}, is_recorded=True)


def _token_and_member_pages() -> Iterator[Cell]:
    token, member, provider = "workflows_apitoken", "workflows_tenantmembership", "workflows_identityprovider"
    invitation = "workflows_invitation"
    bodies = {
        token: {"name": "a", "role": "viewer", "access": "role"},
        member: {"username": "nobody", "role": "viewer"},
        invitation: {"email": "new@example.org", "role": "viewer"},
    }
    issuer = {
        "name": "new",
        "issuer": "https://new.example",
        "client_id": "x",
        "group_claim": "g",
        "roles": "a = viewer",
    }
    changes = {
        token: {"what": "revoke"},
        member: {"what": "save", "role": "viewer"},
        invitation: {"what": "revoke"},
        provider: {"what": "delete"},
    }
    rows = ((token, "token"), (member, "membership"), (invitation, "invitation"), (provider, "identity_provider_row"))
    for name, row in rows:
        model = name.removeprefix("workflows_")
        yield get_cell(f"{name}_changelist", ADMIN, shows=True)
        yield post_cell(f"{name}_changelist", NOBODY, denied_statuses=REFUSED)
        yield get_cell(f"{name}_change", ADMIN, row, shows=True)
        yield get_cell(f"{name}_history", ADMIN, row)
        yield post_cell(f"{name}_history", ADMIN, row, writes=False)
        yield from page_cells(f"admin/workflows/{model}/<path:object_id>/", VIEWER, row)
        adds = SUPERUSER if name == member else ADMIN
        yield get_cell(f"{name}_add", adds)
        yield get_cell(f"{name}_delete", NOBODY, row, foreign_statuses=FORBIDDEN)
        yield post_cell(f"{name}_delete", NOBODY, row, foreign_statuses=FORBIDDEN)
        if name == provider:
            body = lambda ids: {**issuer, "secret_name": ids["secret_name"]}  # noqa: E731
            yield post_cell(f"{name}_add", ADMIN, body=body, is_recorded=True)
        else:
            yield post_cell(f"{name}_add", adds, body=lambda ids, name=name: bodies[name], is_recorded=True)
        yield post_cell(f"{name}_change", ADMIN, row, body=lambda ids, name=name: changes[name], is_recorded=True)


def _tenant_pages() -> Iterator[Cell]:
    yield get_cell("workflows_command_export", ADMIN)
    yield post_cell("workflows_command_export", ADMIN, is_recorded=True)
    name, superusers_see_all = "workflows_tenant", frozenset({403, 404})
    yield get_cell(f"{name}_changelist", SUPERUSER)
    yield post_cell(f"{name}_changelist", NOBODY, denied_statuses=REFUSED)
    yield get_cell(f"{name}_add", SUPERUSER)
    yield post_cell(f"{name}_add", SUPERUSER, body=lambda ids: {"name": "NEW", "slug": "new-desk"}, is_recorded=True)
    yield get_cell(f"{name}_portal", SUPERUSER)
    yield post_cell(f"{name}_portal", SUPERUSER, body=lambda ids: {**REASON, "confirm": "on"}, is_recorded=True)
    yield get_cell(f"{name}_change", ADMIN, "tenant", shows=True, foreign_statuses=superusers_see_all)
    renamed = {"what": "rename", "name": "NEW"}
    yield post_cell(f"{name}_change", ADMIN, "tenant", body=lambda ids: renamed, is_recorded=True)
    yield get_cell(f"{name}_history", ADMIN, "tenant", foreign_statuses=superusers_see_all)
    yield post_cell(f"{name}_history", ADMIN, "tenant", writes=False)
    yield from page_cells(
        "admin/workflows/tenant/<path:object_id>/", VIEWER, "tenant", foreign_statuses=superusers_see_all
    )
    yield get_cell(f"{name}_delete", NOBODY, "tenant", foreign_statuses=FORBIDDEN)
    yield post_cell(f"{name}_delete", NOBODY, "tenant", foreign_statuses=FORBIDDEN)
