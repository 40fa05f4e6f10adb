"""The tree of errors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tradeops.base import errors
from tradeops.base.errors import ConfigError, ExitCode, TradeopsError, Unreachable


def _tree(kind: type[TradeopsError]) -> Iterator[type[TradeopsError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def test_exit_codes_are_those_documented() -> None:
    """Stable: scripts depend on the numbers."""
    assert {code.name: int(code) for code in ExitCode} == {
        "PROVED": 0,
        "INTERNAL": 1,
        "USAGE": 2,
        "PREFLIGHT": 3,
        "ROLLED_BACK": 4,
        "INCONCLUSIVE": 5,
        "MIXED": 6,
        "LOCKED": 7,
        "KILL_INCOMPLETE": 8,
        "REFUSED": 9,
        "DRIFT": 10,
        "BROUGHT_BACK": 11,
        "KILLED": 12,
        "INTERRUPTED": 130,
    }


def test_an_error_says_what_where_holds_next() -> None:
    """The four words are kept apart; as text it is where and what."""
    error = Unreachable("timed out", where="host-8", holds="nothing was touched", next="see `tradeops doctor`")
    assert (error.what, error.where, error.holds, error.next) == ("timed out", "host-8", "nothing was touched", "see `tradeops doctor`")
    assert str(error) == "host-8: timed out"
    assert str(TradeopsError("odd")) == "odd"


@pytest.mark.parametrize("kind", [kind for kind in _tree(TradeopsError) if kind.__module__ == errors.__name__])
def test_no_error_ends_with_success(kind: type[TradeopsError]) -> None:
    """Every class has an exit code other than 0, and says in a sentence what it is."""
    assert kind.exit_code is not ExitCode.PROVED
    assert kind.__doc__


def test_what_a_person_wrote_wrong_is_a_usage_error() -> None:
    """Configuration ends with 2; a host that did not answer ends with preflight's 3."""
    assert ConfigError("x").exit_code == 2
    assert Unreachable("x").exit_code == 3
