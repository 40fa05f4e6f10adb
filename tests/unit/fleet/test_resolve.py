"""Names with a deadline."""

from __future__ import annotations

import pytest

from tradeops.base.errors import Unreachable
from tradeops.fleet.resolve import is_numeric, resolve


@pytest.mark.parametrize(
    ("address", "numeric"), [("192.0.2.1", True), ("::1", True), ("fe80::1%eth0", True), ("host-1", False), ("", False)]
)
def test_numeric_addresses_need_no_resolver(address: str, numeric: bool) -> None:
    """K04: with addresses in the fleet file, a kill asks no DNS."""
    assert is_numeric(address) is numeric
    if numeric:
        assert resolve(address, timeout_s=0.0) == (address,)


def test_a_resolver_that_takes_too_long_is_left_behind() -> None:
    with pytest.raises(Unreachable, match="was not resolved within 0 s") as caught:
        for _ in range(1000):  # a resolver may be quicker than no time at all, but not always
            resolve("localhost", timeout_s=0.0)
    assert "numeric address" in str(caught.value.next)


@pytest.mark.parametrize("name", ["nowhere.invalid", "a" * 300, ".."])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(Unreachable, match="is not known"):
        resolve(name, timeout_s=20)
