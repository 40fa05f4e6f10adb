"""A folder becomes a signed release, the same one each time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.unit.release.conftest import SERVICE_YML, Workshop
from tradeops.base.errors import Refused, UsageError
from tradeops.release.build import build
from tradeops.release.store import Store
from tradeops.release.verify import verify_stored


def test_the_same_inputs_give_the_same_digest(workshop: Workshop, tmp_path: Path) -> None:
    """D16: another folder, another store, other times and modes: the same release."""
    first = workshop.build(number=1)
    elsewhere = tmp_path / "elsewhere" / "deep"
    shutil.copytree(workshop.folder, elsewhere, copy_function=shutil.copyfile)
    workshop.folder = elsewhere
    (elsewhere / "main.py").chmod(0o600)
    (elsewhere / "__pycache__").mkdir()
    (elsewhere / "__pycache__" / "main.pyc").write_bytes(b"junk")
    assert workshop.build(number=1, store=Store(tmp_path / "store-2")).id == first.id
    (elsewhere / "main.py").write_text("print('other')\n")
    assert workshop.build(number=1, store=Store(tmp_path / "store-3")).id != first.id


def test_a_number_is_one_release(workshop: Workshop) -> None:
    """D16: built again from the same inputs it is the same release; from others it is refused, not passed off as the first."""
    first, second = workshop.build(), workshop.build()
    assert workshop.build(number=1).id == first.id
    assert workshop.build(number=2).id == second.id
    workshop.write("main.py", "print('other')\n")
    with pytest.raises(Refused, match="another release"):
        workshop.build(number=1)
    assert [one.id for one in workshop.store.list()] == [second.id, first.id]


def test_numbers_rise_and_name_what_they_follow(workshop: Workshop) -> None:
    """A07: the next release of a service is above its newest."""
    first, second = workshop.build(), workshop.build()
    assert (first.manifest.predicate.number, second.manifest.predicate.number) == (1, 2)
    assert (first.manifest.predicate.previous, second.manifest.predicate.previous) == (None, first.id)


def test_what_was_built_is_whole(workshop: Workshop) -> None:
    """A05: signature, id, every content; what is excluded is not in it."""
    workshop.define("exclude: ['*.csv']\n")
    release = workshop.build()
    verify_stored(release, workshop.policy)
    assert [file.path for file in release.manifest.predicate.files] == ["main.py", "service.yml"]


def test_flags_are_held_against_the_ledger(workshop: Workshop) -> None:
    """D05: undeclared, retired, or with another meaning: no release."""
    workshop.define("flags: [{id: power-peg, meaning: Sends child orders., active: true}]\n")
    with pytest.raises(Refused, match="not declared"):
        workshop.build()
    workshop.ledger.declare("power-peg", "Sends  child\norders.", by="operator-1", now_ns=1)
    assert workshop.build().manifest.predicate.flags[0].on
    workshop.define("flags: [{id: power-peg, meaning: Retail liquidity programme.}]\n")
    with pytest.raises(Refused, match="another meaning"):
        workshop.build()


def test_nothing_to_build_from(workshop: Workshop) -> None:
    """A trader without a lock file, a folder that is not there."""
    source = workshop.source()
    shutil.rmtree(workshop.folder)
    with pytest.raises(UsageError, match="no such folder"):
        build(source, workshop.store, workshop.signer, workshop.ledger, now_ns=0)
    workshop.folder.mkdir()
    workshop.define(text=SERVICE_YML + "kind: trader\n")
    with pytest.raises(UsageError, match="lock"):
        workshop.build()
