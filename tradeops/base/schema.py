"""The JSON Schema of what a person writes, from the strict model that reads it: for editors and for linters in CI."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FOREIGN = ("gt", "ge", "lt", "le")
"""What pydantic leaves behind of a bound on a value that is written as text: no words of JSON Schema."""


def schema_of(model: type[BaseModel], title: str) -> dict[str, Any]:
    """As closed as the model is: a key that the model refuses, the schema refuses. What single fields cannot tell it does not know."""
    made: dict[str, Any] = _closed(model.model_json_schema())
    return {"$schema": DIALECT, **made, "title": title}


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(one) for one in node]
    if not isinstance(node, dict):
        return node
    kept = {name: _closed(value) for name, value in node.items() if name not in _FOREIGN and not _held(name, node)}
    if "patternProperties" in kept:
        kept.setdefault("additionalProperties", False)
    return kept


def _held(name: str, node: dict[str, Any]) -> bool:
    """A default as the model holds it, which nobody could write so: seconds for `5m`."""
    return name == "default" and node.get("type") == "string" and not isinstance(node["default"], str)
