"""Pages that come with the tool: the commented fleet file, and the runbooks."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated

import typer

from tradeops.base.errors import UsageError
from tradeops.base.shipped import shipped
from tradeops.cli.report import Report


def docs(page: Annotated[str, typer.Argument(help="`fleet` for the commented fleet file, or a runbook's name.")] = "README") -> Report:
    """Print the commented fleet file (`tradeops docs fleet`), or a runbook (without a name: their list)."""
    if page == "fleet":
        text = files("tradeops.fleet").joinpath("example.yml").read_text(encoding="utf-8")
    else:
        pages = {path.stem: path for path in shipped("runbooks").glob("*.md")}
        if page not in pages:
            raise UsageError(f"there is no page {page!r}", next=f"one of: fleet, {', '.join(sorted(pages))}")
        text = pages[page].read_text(encoding="utf-8")
    return Report("docs", page, raw=text, data={"page": page, "text": text})
