"""The table of faults."""

from __future__ import annotations

import pytest

from tradeops.base.errors import UsageError
from tradeops.lab.hands import COMMON
from tradeops.lab.kinds import KINDS, checked, number


def test_settings_have_their_defaults() -> None:
    """What is not said holds as the table says."""
    kind, settings = checked("delay", {"ms": "20"})
    assert kind.lasting
    assert settings == {"port": "ssh", "ms": "20"}
    assert not KINDS["reboot"].lasting


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("quake", {}, "no fault 'quake'"),
        ("drop", {"percent": "3"}, "no setting 'percent'"),
        ("partition", {"port": "ssh"}, "it can be told: nothing"),
        ("drop", {"port": "web"}, "no port is called 'web'"),
    ],
)
def test_what_is_not_in_the_table_is_refused(name: str, given: dict[str, str], words: str) -> None:
    """With what there is instead."""
    with pytest.raises(UsageError) as caught:
        checked(name, given)
    assert words in f"{caught.value} {caught.value.next}"


@pytest.mark.parametrize("text", ["x", "", "1.5", "0", "101"])
def test_numbers_are_whole_and_bounded(text: str) -> None:
    """Anything else is a usage error."""
    with pytest.raises(UsageError):
        number({"percent": text}, "percent", 1, 100)
    assert number({"percent": "7"}, "percent", 1, 100) == 7


def test_common_faults_are_in_the_table() -> None:
    """One table of names."""
    assert set(COMMON) <= set(KINDS)
