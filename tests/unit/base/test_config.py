"""Strict YAML."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeops.base.config import CONFIG_BYTES_MAX, DurationS, SizeBytes, Strict, load_yaml, parse_yaml
from tradeops.base.errors import ConfigError


class Limits(Strict):
    """Part of the example."""

    wait: DurationS
    disk: SizeBytes = 0


class Example(Strict):
    """What the tests parse."""

    name: str
    count: int = 1
    limits: Limits | None = None
    tags: tuple[str, ...] | list[str] = ()


def refused(text: str) -> ConfigError:
    """The error that `text` gets."""
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, Example, source="fleet.yml")
    return caught.value


def test_durations_and_sizes_carry_their_units() -> None:
    """Written with a unit, held in seconds and bytes."""
    example = parse_yaml("name: a\nlimits: {wait: 1.5m, disk: 2GiB}\n", Example, source="x")
    assert example.limits == Limits.model_validate({"wait": "90s", "disk": "2147483648B"})


@pytest.mark.parametrize("wait", ["5", '"5"', "5 parsecs", "-1s", "s", "[5s]", "5s5s", ".5s", "1e3s", "inf"])
def test_a_wrong_unit_is_refused_at_its_line_and_key(wait: str) -> None:
    """A number without unit, or with a foreign one, is not guessed at."""
    error = refused(f"name: a\nlimits:\n  wait: {wait}\n")
    assert error.where == "fleet.yml:3"
    assert error.what.startswith("limits.wait: ")
    assert "is not a duration" in error.what


def test_every_finding_has_its_own_line() -> None:
    """Two mistakes, one message, two places."""
    error = refused("name: 5\nsurprise: 1\ncount: two\n")
    assert error.where == "fleet.yml:1"
    assert "fleet.yml:2: surprise: Extra inputs are not permitted" in error.what
    assert "fleet.yml:3: count: " in error.what


def test_a_missing_key_points_at_its_parent() -> None:
    """What is not there has no line; what should hold it has."""
    error = refused("name: a\n\nlimits:\n  disk: 5MB\n")
    assert error.where == "fleet.yml:3"
    assert error.what == "limits.wait: Field required"


@pytest.mark.parametrize(
    ("text", "says", "where"),
    [
        ("name: a\n\tcount: 1\n", "tabs", "fleet.yml:2"),
        ("name: [a\n", "not YAML", "fleet.yml:2"),
        ("name: a\nname: b\n", "stands twice", "fleet.yml:2"),
        ("name: a\n5: b\n", "not text", "fleet.yml:2"),
        ("name: a\n? [x]\n: b\n", "not text", "fleet.yml:2"),
        ("name: !!python/object/apply:os.system [id]\n", "valid string", "fleet.yml:1"),
        ("name: a\ncount: !!int nine\n", "not plain YAML", "fleet.yml:2"),
        ("name: 2026-13-45\n", "month must be", "fleet.yml:1"),
        ("a: &x [*x]\n", "nested deeper", "fleet.yml:1"),
        ("a: &x [*x, *x]\n", "", "fleet.yml:1"),
        ("- a\n", "(top)", "fleet.yml:1"),
        ("", "empty", "fleet.yml"),
        ("# only a remark\n", "empty", "fleet.yml"),
        ("--- a\n--- b\n", "not YAML", "fleet.yml:2"),
        ("name: " + "[" * 5000, "", "fleet.yml"),
        ("name: " + "[" * 40 + "]" * 40, "nested deeper", "fleet.yml:1"),
        ("name: " + "[" * 40_000, "nested deeper", "fleet.yml:1"),
        ("name: a\ncount: true\n", "count: ", "fleet.yml:2"),
        ("name: a\ncount: 02222\n", "another number", "fleet.yml:2"),
        ("name: a\ncount: 37:02\n", "another number", "fleet.yml:2"),
        ("name: a\ncount: 37:02.5\n", "another number", "fleet.yml:2"),
    ],
)
def test_malformed_and_hostile_text_is_refused_in_its_place(text: str, says: str, where: str) -> None:
    """Tabs, twice-written keys, tags that build objects, loops, depth: an error, never a guess or a crash."""
    error = refused(text)
    assert says in error.what or says in (error.next or "")
    assert (error.where or "").startswith(where)


@given(st.text(max_size=200))
def test_any_text_is_an_example_or_a_configuration_error(text: str) -> None:
    """No input gets out any other way."""
    try:
        parse_yaml(text, Example, source="fleet.yml")
    except ConfigError as error:
        assert error.where is not None


def test_files_that_cannot_be_read_say_so(tmp_path: Path) -> None:
    """Missing, a folder, not UTF-8, larger than the bound."""
    with pytest.raises(ConfigError, match="no such file") as missing:
        load_yaml(tmp_path / "fleet.yml", Example)
    assert "tradeops init" in (missing.value.next or "")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path, Example)
    (tmp_path / "latin").write_bytes(b"name: \xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_yaml(tmp_path / "latin", Example)
    (tmp_path / "huge").write_bytes(b"#" * (CONFIG_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load_yaml(tmp_path / "huge", Example)


def test_a_good_file_is_read(tmp_path: Path) -> None:
    """And cannot be changed afterwards."""
    (tmp_path / "e.yml").write_text("name: a\ncount: 3\n")
    example = load_yaml(tmp_path / "e.yml", Example)
    assert (example.name, example.count) == ("a", 3)
    with pytest.raises(ValueError, match="frozen"):
        example.count = 4  # type: ignore[misc] # that it is refused is what is tested


@pytest.mark.parametrize("size", ["5", "5 bytes", "-5MB", "1.5GB", "GB"])
def test_a_wrong_size_is_refused(size: str) -> None:
    """Whole numbers with a known unit alone."""
    assert "is not a size" in refused(f"name: a\nlimits: {{wait: 1s, disk: {size}}}\n").what
