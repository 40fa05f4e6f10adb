"""A small service, a store and a policy for the release tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tradeops.contracts.policy import SCHEMA, Person, Policy
from tradeops.contracts.signature import RunKey
from tradeops.release.build import Source, build
from tradeops.release.definition import load_definition
from tradeops.release.ledger import FlagLedger
from tradeops.release.store import Store, StoredRelease

SERVICE_YML = """\
service: hello
version: "1.0"
start:
  argv: ["{python}", main.py]
identity: /identity
health: /health
port: 8080
"""


@dataclass
class Workshop:
    """A folder with a service in it, and all that a build needs."""

    folder: Path
    store: Store
    signer: RunKey
    ledger: FlagLedger
    policy: Policy

    def write(self, path: str, text: str = "content\n") -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def define(self, more: str = "", text: str = SERVICE_YML) -> None:
        (self.folder / "service.yml").write_text(text + more)

    def source(self) -> Source:
        return Source(load_definition(self.folder / "service.yml"), self.folder)

    def build(self, number: int | None = None, store: Store | None = None) -> StoredRelease:
        return build(self.source(), store or self.store, self.signer, self.ledger, now_ns=0, number=number)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    signer = RunKey.from_private_bytes(b"\x01" * 32)
    person = Person("operator-1", (signer.public_line,), ("operator",))
    verbs: dict[str, tuple[str, ...]] = {"operator": ("release", "platform", "binding", "overlay")}
    policy = Policy(schema=SCHEMA, fleet="lab", number=1, people=(person,), roles=verbs)
    shop = Workshop(tmp_path / "service", Store(tmp_path / "store"), signer, FlagLedger(tmp_path / "flags.json"), policy)
    shop.write("main.py", "print('hello')\n")
    shop.write("data/table.csv", "1,2\n")
    shop.define()
    return shop
