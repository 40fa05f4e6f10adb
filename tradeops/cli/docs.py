"""Pages that come with the tool: the commented fleet file, a commented playbook, their JSON Schemas, CI templates, the runbooks."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradeops.base.errors import UsageError
from tradeops.base.shipped import shipped
from tradeops.cli.report import Report

if TYPE_CHECKING:
    from pydantic import BaseModel

WRITTEN = {"fleet": "fleet.yml", "playbook": "playbooks/canary.yml", "ci-github": "ci/github.yml", "ci-gitlab": "ci/gitlab.yml"}
"""What a person copies and writes on, by the page's name."""


def docs(
    page: Annotated[str, typer.Argument(help="fleet, playbook, ci-github, ci-gitlab, or a runbook's name.")] = "README",
    schema: Annotated[bool, typer.Option("--schema", help="The JSON Schema of `fleet` or `playbook`.")] = False,
) -> Report:
    """Print a commented fleet file, playbook or CI pipeline to start from, its JSON Schema, or a runbook (no name: their list)."""
    text = _schema(page) if schema else _page(page).read_text(encoding="utf-8")
    return Report("docs", page, raw=text, data={"page": page, "text": text})


def _page(page: str) -> Path:
    if page == "fleet":
        return Path(str(files("tradeops.fleet").joinpath("example.yml")))
    if page in WRITTEN:
        return shipped("playbooks") / WRITTEN[page].removeprefix("playbooks/")
    pages = {path.stem: path for path in shipped("runbooks").glob("*.md")}
    if page not in pages:
        raise UsageError(f"there is no page {page!r}", next=f"one of: {', '.join([*WRITTEN, *sorted(pages)])}")
    return pages[page]


def _schema(page: str) -> str:
    import json

    from tradeops.base.schema import schema_of

    model = _model(page)
    return json.dumps(schema_of(model, WRITTEN[page]), indent=2) + "\n"


def _model(page: str) -> type[BaseModel]:
    from tradeops.deploy.playbook import Playbook
    from tradeops.fleet.fleetfile import FleetFile

    models: dict[str, type[BaseModel]] = {"fleet": FleetFile, "playbook": Playbook}
    if page not in models:
        raise UsageError(f"{page!r} has no schema", next=f"one of: {', '.join(models)}")
    return models[page]
