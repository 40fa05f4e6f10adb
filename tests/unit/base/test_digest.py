"""Content addresses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeops.base.digest import canonical_json, digest_bytes, digest_file, is_digest, short

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_address_of_nothing_is_the_known_one(tmp_path: Path) -> None:
    """Bytes and file agree with the published value."""
    (tmp_path / "empty").touch()
    assert digest_bytes(b"") == digest_file(tmp_path / "empty") == EMPTY


def test_a_large_file_is_hashed_in_slices(tmp_path: Path) -> None:
    """The same address as its bytes, over the edge of a slice."""
    data = bytes(range(256)) * 5000
    (tmp_path / "large").write_bytes(data)
    assert digest_file(tmp_path / "large") == digest_bytes(data)


@pytest.mark.parametrize("text", ["", "sha256:", EMPTY[:-1], EMPTY + "0", EMPTY.upper(), EMPTY + "\n", "md5:" + EMPTY[7:], " " + EMPTY])
def test_what_is_not_whole_is_no_address(text: str) -> None:
    """Cut, long, upper case, other algorithm: refused."""
    assert is_digest(EMPTY)
    assert not is_digest(text)


def test_short_is_for_screens() -> None:
    """Twelve digits, without the algorithm."""
    assert short(EMPTY) == "e3b0c44298fc"


def test_canonical_json_has_one_form() -> None:
    """Sorted, tight, UTF-8, and no number that JSON cannot hold."""
    assert canonical_json({"b": [1, None], "a": "é"}) == '{"a":"é","b":[1,null]}'.encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"a": float("nan")})


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=6))
def test_canonical_json_does_not_depend_on_order(value: dict[str, object]) -> None:
    """The same content in another order is the same bytes."""
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)
