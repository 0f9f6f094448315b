"""Check of the rights of the database logins in PostgreSQL's catalogue.

Source: docs/administrators.md#database-logins
"""

import re
from collections.abc import Iterator
from typing import Any

from portal.database.rights import FUNCTIONS, role_names, table_rights

SEARCH_PATH = ["search_path=pg_catalog, public, pg_temp"]
FLAGS = ("rolsuper", "rolbypassrls", "rolcreatedb", "rolcreaterole", "rolreplication", "rolinherit")


def rights_violations(cursor: Any) -> list[str]:
    """Return one sentence for each role, function, table or grant that breaks the rules."""
    return [
        *_role_violations(cursor),
        *_function_violations(cursor),
        *_table_violations(cursor),
        *_view_violations(cursor),
        *_public_violations(cursor),
    ]


def _rows(cursor: Any, sql: str, *values: Any) -> list[Any]:
    cursor.execute(sql, values)
    return list(cursor.fetchall())


def _role_violations(cursor: Any) -> Iterator[str]:
    names = role_names()
    roles = list(names.values())
    for name, *values in _rows(
        cursor, f"SELECT rolname, {', '.join(FLAGS)} FROM pg_roles WHERE rolname = ANY(%s)", roles
    ):
        yield from (f"{name}: the role has {flag}" for flag, value in zip(FLAGS, values, strict=True) if value)
    for member, role in _rows(
        cursor,
        "SELECT m.rolname, r.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member"
        " JOIN pg_roles r ON r.oid = a.roleid WHERE m.rolname = ANY(%s)",
        roles,
    ):
        if (member, role) != (names["SYSTEM"], names["APP"]):
            yield f"{member}: the role is a member of {role}"
    owned = (
        "SELECT r.rolname, c.relname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname = ANY(%s)"
    )
    yield from (f"{name}: the role owns {relation}" for name, relation in _rows(cursor, owned, roles))


def _function_violations(cursor: Any) -> Iterator[str]:
    """Check who may call a function, and the search path of a function that runs with the rights of its owner."""
    names = role_names()
    for name, definer, config, grantees in _rows(
        cursor,
        "SELECT p.proname, p.prosecdef, p.proconfig, array(SELECT coalesce(r.rolname::text, 'PUBLIC') FROM"
        " aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g LEFT JOIN pg_roles r ON r.oid = g.grantee"
        " WHERE g.grantee <> p.proowner) FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace"
        " AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e') ORDER BY 1",
    ):
        if set(grantees) != {names[kind] for kind in FUNCTIONS.get(name, ())}:
            yield f"{name}: the function can be called by {', '.join(sorted(grantees)) or 'no role'}; see rights.py"
        if definer and config != SEARCH_PATH:
            yield f"{name}: a SECURITY DEFINER function needs SET search_path = pg_catalog, public, pg_temp"


def _table_violations(cursor: Any) -> Iterator[str]:
    """Compare the grants on tables and columns with the rules. A table without a rule has no grants."""
    names = role_names()
    rules = table_rights()
    found: dict[str, set[tuple[str, str]]] = {}
    for table, grantee, right in _rows(cursor, _GRANTS):
        found.setdefault(table, set()).add((grantee, right))
    for table in sorted(found.keys() | rules.keys()):
        wanted = {
            (names[kind], right) for kind, rights in rules.get(table, {}).items() for right in _single_rights(rights)
        }
        for grantee, right in sorted(found.get(table, set()) ^ wanted):
            verb = "has" if (grantee, right) in found.get(table, set()) else "does not have"
            yield f"{table}: {grantee} {verb} {right}, which differs from rights.py"


_GRANTS = """
SELECT c.relname::text, coalesce(r.rolname::text, 'PUBLIC'), g.privilege_type || CASE WHEN g.is_grantable
    THEN ' WITH GRANT OPTION' ELSE '' END
FROM pg_class c CROSS JOIN aclexplode(c.relacl) g LEFT JOIN pg_roles r ON r.oid = g.grantee
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') AND g.grantee <> c.relowner
UNION ALL
SELECT c.relname::text, coalesce(r.rolname::text, 'PUBLIC'), g.privilege_type || ' ' || a.attname
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid CROSS JOIN aclexplode(a.attacl) g
    LEFT JOIN pg_roles r ON r.oid = g.grantee
WHERE c.relnamespace = 'public'::regnamespace AND g.grantee <> c.relowner
"""


def _single_rights(rights: str) -> Iterator[str]:
    """Yield each right of a list such as `SELECT, UPDATE (a, b)`, with the column if there is one."""
    for name, columns in re.findall(r"([A-Z]+)(?: \(([^)]*)\))?", rights):
        if columns:
            yield from (f"{name} {column}" for column in re.findall(r"\w+", columns))
        else:
            yield name


def _view_violations(cursor: Any) -> Iterator[str]:
    """A view reads its tables with the rights of its owner, who sees the rows of all tenants."""
    views = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm')"
    yield from (f"{name}: a view ignores row-level security; use a query" for (name,) in _rows(cursor, views))


def _public_violations(cursor: Any) -> Iterator[str]:
    """Check that no login can create objects, not even temporary tables."""
    for role in (*role_names().values(), "public"):
        ((temporary, create, schema),) = _rows(
            cursor,
            "SELECT has_database_privilege(%(r)s, current_database(), 'TEMPORARY'),"
            " has_schema_privilege(%(r)s, 'public', 'CREATE'),"
            " has_database_privilege(%(r)s, current_database(), 'CREATE')".replace("%(r)s", f"'{role}'"),
        )
        if temporary or create or schema:
            yield f"{role}: the role can create objects in the database"
