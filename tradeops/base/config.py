"""Strict YAML: PyYAML's C loader with line marks, pydantic models, errors as file:line and key path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError, WithJsonSchema

from tradeops.base.durable import read_bounded
from tradeops.base.errors import ConfigError, TradeopsError

CONFIG_BYTES_MAX = 8 << 20
_DEPTH_MAX = 32
_NODES_MAX = 200_000
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_DURATION_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_SIZE = re.compile(r"(\d+)\s*(B|KB|MB|GB|KiB|MiB|GiB)")
_SIZE_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

Key = tuple[str | int, ...]
"""Where a value stands in a document: names and indexes from the top."""
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Strict(BaseModel):
    """A model of something a person wrote: unknown keys are errors, values are not coerced, nothing mutates."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _parse_duration(value: object) -> float:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration: write a number and a unit, as 200ms, 5s, 10m, 2h or 1d")
    return float(match[1]) * _DURATION_S[match[2]]


def _parse_size(value: object) -> int:
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a size: write a whole number and a unit, as 500MB or 2GiB")
    return int(match[1]) * _SIZE_BYTES[match[2]]


DurationS = Annotated[
    float,
    BeforeValidator(_parse_duration),
    PlainSerializer(lambda seconds: f"{seconds:f}s", when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$"}, mode="validation"),
]
"""Written `5m`, held as seconds, written back as seconds. A bare number is refused."""
SizeBytes = Annotated[int, BeforeValidator(_parse_size), WithJsonSchema({"type": "string", "pattern": f"^{_SIZE.pattern}$"})]
"""Written `2GiB`, held as bytes. A bare number is refused."""

Model = TypeVar("Model", bound=BaseModel)
Check = Callable[[Model], Iterable[tuple[Key, str]]]


def load_yaml(
    path: Path, model: type[Model], *, check: Check[Model] | None = None, tell: Callable[[ConfigError], None] | None = None
) -> Model:
    """Read `path` as a `model`. Raises ConfigError with file:line and key path for anything wrong.

    check: what no single field can tell (duplicates, sums, references): yields the key path and what is wrong there.
    tell: takes what `check` finds, for who goes on all the same; None: it is raised.
    """
    try:
        text = read_bounded(path, CONFIG_BYTES_MAX).decode()
    except FileNotFoundError:
        raise ConfigError("no such file", where=str(path), next="check the path, or run `tradeops init`") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8: {error}", where=str(path)) from None
    except (OSError, TradeopsError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path)) from None
    return parse_yaml(text, model, source=str(path), check=check, tell=tell)


def parse_yaml(
    text: str, model: type[Model], *, source: str, check: Check[Model] | None = None, tell: Callable[[ConfigError], None] | None = None
) -> Model:
    """Parse `text` as a `model`; `source` names it in errors. Raises ConfigError."""
    lines: dict[Key, int] = {}
    data = _plain(_compose(text, source), (), lines, source)
    if data is None:
        raise ConfigError("the file is empty", where=source)
    try:
        parsed = model.model_validate(data)
    except ValidationError as error:
        details = [(detail["loc"], detail["msg"]) for detail in error.errors(include_url=False)]
        raise _config_error(details, lines, source) from None
    if check and (found := list(check(parsed))):
        wrong = _config_error(found, lines, source)
        if tell is None:
            raise wrong
        tell(wrong)
    return parsed


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        _refuse_depth(text, source)
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        hint = "indent with spaces; YAML allows no tabs" if "\\t" in problem or "tab" in problem else None
        raise ConfigError(f"not YAML: {problem}", where=f"{source}{line}", next=hint) from None
    return node


def _refuse_depth(text: str, source: str) -> None:
    """Raises ConfigError before anything recurses: the C loader composes by recursion and ends the process where the stack does."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEPTH_MAX:
            line = f":{event.start_mark.line + 1}" if event.start_mark else ""
            raise ConfigError(f"nested deeper than {_DEPTH_MAX} levels", where=f"{source}{line}")


def _plain(node: yaml.Node | None, key: Key, lines: dict[Key, int], source: str) -> object:
    """The node as plain values, noting the line of every key path."""
    if node is None:
        return None
    lines.setdefault(key, node.start_mark.line + 1)
    if len(lines) > _NODES_MAX:
        raise ConfigError(f"more than {_NODES_MAX} values (aliases count each time)", where=f"{source}:{node.start_mark.line + 1}")
    if len(key) > _DEPTH_MAX:
        raise ConfigError(f"nested deeper than {_DEPTH_MAX} levels", where=f"{source}:{node.start_mark.line + 1}")
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, key, lines, source)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*key, index), lines, source) for index, item in enumerate(node.value)]
    return _scalar(node, source)


def _mapping(node: yaml.MappingNode, key: Key, lines: dict[Key, int], source: str) -> dict[object, object]:
    plain: dict[object, object] = {}
    for name_node, value_node in node.value:
        name = _scalar(name_node, source)
        where = f"{source}:{name_node.start_mark.line + 1}"
        if not isinstance(name, str):
            raise ConfigError(f"the key {name!r} is not text; quote it", where=where)
        if name in plain:
            raise ConfigError(f"the key {name!r} stands twice", where=where)
        lines[(*key, name)] = name_node.start_mark.line + 1
        plain[name] = _plain(value_node, (*key, name), lines, source)
    return plain


def _scalar(node: yaml.Node, source: str) -> object:
    where = f"{source}:{node.start_mark.line + 1}"
    if _misread(node):
        raise ConfigError(f"{node.value} would be read as another number", where=where, next="write it in plain digits, or quote a text")
    loader = _Loader("")
    try:
        return loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"not plain YAML: {problem}", where=where) from None
    finally:
        loader.dispose()


def _misread(node: yaml.Node) -> bool:
    """Whether YAML 1.1 takes its digits for octal (02222) or for base sixty (37:02), which nobody means."""
    number = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
    return number and (":" in node.value or _OCTAL.fullmatch(node.value) is not None)


def _config_error(details: list[tuple[Key, str]], lines: dict[Key, int], source: str) -> ConfigError:
    findings = [_finding(key, message, lines, source) for key, message in details]
    first_where, first_what = findings[0]
    more = [f"{where}: {what}" for where, what in findings[1:]]
    return ConfigError("\n".join([first_what, *more]), where=first_where)


def _finding(loc: Key, message: str, lines: dict[Key, int], source: str) -> tuple[str, str]:
    known = loc
    while known not in lines and known:
        known = known[:-1]
    path = ".".join(str(part) for part in loc) or "(top)"
    return f"{source}:{lines.get(known, 1)}", f"{path}: {message.removeprefix('Value error, ')}"
