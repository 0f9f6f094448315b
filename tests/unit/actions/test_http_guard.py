"""Addresses that `http.request` may call."""

import pytest

from workflows.actions.http_addresses import is_public


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1:248:1893:25c8:1946", True), ("::ffff:93.184.216.34", True),
        ("127.0.0.1", False), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False), ("100.64.0.1", False), ("198.18.0.1", False), ("224.0.0.1", False),
        ("255.255.255.255", False), ("192.0.0.9", False), ("192.0.0.192", False), ("168.63.129.16", False),
        ("192.88.99.1", False), ("::ffff:168.63.129.16", False), ("2002:a83f:8110::", False),
        ("2001:0:a83f:8110::", False),
        ("::1", False), ("::", False), ("::ffff:127.0.0.1", False), ("::127.0.0.1", False), ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("fec0::1", False), ("64:ff9b::7f00:1", False), ("64:ff9b::a9fe:a9fe", False), ("64:ff9b:1::a00:1", False),
        ("2002:7f00:1::", False), ("2001:db8::1", False), ("ff02::1", False),
    ],
)  # fmt: skip
def test_only_public_addresses_are_permitted(address: str, public: bool) -> None:
    assert is_public(address) is public
