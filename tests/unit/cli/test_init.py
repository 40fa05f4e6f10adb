"""`init`: scaffolds, never overwrites; people and their keys."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest

from tradeops.base.errors import ExitCode, UsageError
from tradeops.cli.app import command_line, run
from tradeops.cli.people import read_key_paths, signer_of, write_key_paths
from tradeops.cli.render import Printer
from tradeops.contracts.codec import decode
from tradeops.contracts.entitle import open_policy
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.policy import Policy
from tradeops.fleet.inventory import load_fleet
from tradeops.lab.keys import make_key
from tradeops.release.definition import load_definition
from tradeops.trader.config import load_config


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of two people and of a third."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("a", "b", "c"):
        make_key(folder / name)
    return folder


def init(folder: Path, *argv: str) -> tuple[ExitCode, str]:
    """Exit code and everything said."""
    said = io.StringIO()
    words = ["--fleet", str(folder / "fleet.yml"), "init", *argv]
    return run(words, Printer(as_json=False, out=said, err=said), command_line()), said.getvalue()


def people(keys: Path) -> list[str]:
    """Two people who can permit together."""
    return ["--person", f"ann={keys / 'a'}:operator", "--person", f"bob={keys / 'b'}:risk"]


def policy_of(folder: Path) -> Policy:
    """The policy made, checked as an enrolment would."""
    return open_policy(decode((folder / ".tradeops" / "policy.json").read_bytes(), Envelope, source="x"), None)


def test_what_is_scaffolded_is_valid(tmp_path: Path, keys: Path) -> None:
    """Fleet, service, trader's configuration, policy: each is read by the room it is for."""
    assert init(tmp_path, "--name", "alpha", *people(keys))[0] == ExitCode.PROVED
    assert load_fleet(tmp_path / "fleet.yml").name == "alpha"
    assert load_definition(tmp_path / "service" / "service.yml").kind == "trader"
    load_config(tmp_path / "service" / "config" / "trader.yml")
    assert {person.name for person in policy_of(tmp_path).people} == {"ann", "bob"}
    assert (tmp_path / "playbooks" / "rolling.yml").is_file()


def test_nobody_else_can_read_the_state(tmp_path: Path, keys: Path) -> None:
    """The folder is 0700, private keys and documents 0600; no private key of a person is copied."""
    init(tmp_path, *people(keys))
    state = tmp_path / ".tradeops"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in state.rglob("*.key"))
    secret = (keys / "a").read_bytes().splitlines()[1]
    assert not any(secret in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_again_changes_nothing(tmp_path: Path, keys: Path) -> None:
    """Idempotent: every byte is as it was, also what a person edited."""
    init(tmp_path, *people(keys))
    (tmp_path / "service" / "service.yml").write_text("edited")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, said = init(tmp_path)
    assert code == ExitCode.PROVED
    assert said.startswith("everything was there")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_policy_is_not_replaced(tmp_path: Path, keys: Path) -> None:
    """Whoever may change it does so by a signed, higher number."""
    init(tmp_path, *people(keys))
    before = (tmp_path / ".tradeops" / "policy.json").read_bytes()
    code, said = init(tmp_path, "--person", f"eve={keys / 'c'}:operator", *people(keys))
    assert code == ExitCode.USAGE
    assert "stays as it is" in said
    assert (tmp_path / ".tradeops" / "policy.json").read_bytes() == before


@pytest.mark.parametrize(
    ("named", "says"),
    [
        (["ann={keys}/a:operator"], "2 are needed"),
        (["ann={keys}/a:operator", "bob={keys}/b:sentinel"], "2 are needed"),
        (["ann={keys}/a:king", "bob={keys}/b:risk"], "unknown role 'king'"),
        (["ann={keys}/a:risk", "bob={keys}/b:risk"], "may change the policy"),
        (["ann={keys}/none:operator", "bob={keys}/b:risk"], "no such key file"),
        (["ann={keys}/a:operator", "bob={keys}/a:risk"], "ann and bob have the same key"),
        (["ann"], "is no person"),
        (["Ann=x:operator"], "is no person"),
    ],
)
def test_a_policy_that_would_not_work_is_refused(tmp_path: Path, keys: Path, named: list[str], says: str) -> None:
    """K07: a fleet that nobody could ever start again is not begun."""
    code, said = init(tmp_path, *(word for text in named for word in ("--person", text.format(keys=keys))))
    assert code == ExitCode.USAGE
    assert says in said
    assert not (tmp_path / ".tradeops" / "policy.json").exists()


def test_the_person_is_found_by_name_or_by_key(tmp_path: Path, keys: Path) -> None:
    """`--as` finds the noted key; a key finds its person; somebody else's key is refused."""
    init(tmp_path, *people(keys))
    policy, noted = policy_of(tmp_path), tmp_path / ".tradeops" / "keys.json"
    assert signer_of(policy, noted, person="bob", key=None)[0] == "bob"
    assert signer_of(policy, noted, person=None, key=str(keys / "a"))[0] == "ann"
    for person, key in (("bob", str(keys / "a")), (None, str(keys / "c")), ("eve", None)):
        with pytest.raises(UsageError):
            signer_of(policy, noted, person=person, key=key)


def test_noted_paths_are_kept(tmp_path: Path) -> None:
    """Nothing noted is nothing found; a damaged note is an error, not a guess."""
    path = tmp_path / "keys.json"
    assert read_key_paths(path) == {}
    write_key_paths(path, {"ann": "/k"})
    assert read_key_paths(path) == {"ann": "/k"}
    path.write_text("{")
    with pytest.raises(UsageError):
        read_key_paths(path)
