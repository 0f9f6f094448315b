"""Bad input of management commands: the message says what is wrong, and nothing is stored."""

from typing import Any

import pytest
from django.core.management import CommandError

from tests.support.factories import make_token
from tests.support.management_commands import run_command
from workflows.models import ApiToken, Command

NOT_UTF8 = "\udcff"  # Python's form of a byte of an argument that is not UTF-8
# Command, part of the message. `TENANT` and `TOKEN` are replaced.
REFUSED = [
    (["tenant", "rename", "TENANT", "--name", NOT_UTF8], "name is not valid UTF-8"),
    (["tenant", "close", "TENANT", "--reason", NOT_UTF8], "reason is not valid UTF-8"),
    (["member", "remove", NOT_UTF8, "--tenant", "TENANT"], "username is not valid UTF-8"),
    (["token", "create", "--name", "x", "--role", "admin", "--scope", NOT_UTF8], "scope is not valid UTF-8"),
    (["create_admin", NOT_UTF8, "--another"], "username is not valid UTF-8"),
    (["tenant", "close", "TENANT", "--by", "x" * 201], "--by has more than 200 characters"),
    (["token", "create", "--tenant", "TENANT", "--name", "x", "--role", "admin", "--days", "99999999999"],
     "--days must be a number of at most 36,500 days"),
    *(
        (["token", "rotate", "TOKEN", "--tenant", "TENANT", "--overlap-hours", hours], "--overlap-hours must be")
        for hours in ("nan", "inf", "1e300")
    ),
    (["verify_audit", "--tenant", "TENANT", "--expect", "a1b2"], "--expect is not a hash"),
    (["retention", "set", "--tenant", "TENANT"], "give at least one period"),
    (["export_ledger", "--public-key"], "there is no public key"),
    (["export_ledger", "--tenant", "TENANT", "--output", "/proc/no/file"], "cannot write.*There is no file"),
    (["createsuperuser", "--noinput", "--username", "x", "--email", "x@example.org"], "manage.py create_admin"),
    (["changepassword", "x"], "manage.py account password"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=lambda value: ascii(value)[:50])
def test_bad_input_of_a_command_is_named_and_stores_nothing(tenant: Any, words: list[str], message: str) -> None:
    make_token(tenant)
    token = ApiToken.objects.get(tenant=tenant)
    values = {"TENANT": tenant.slug, "TOKEN": str(token.id)}
    with pytest.raises(CommandError, match=message):
        run_command(*(values.get(word, word) for word in words))
    assert not Command.objects.filter(tenant=tenant).exists()
    assert ApiToken.objects.filter(tenant=tenant).count() == 1
