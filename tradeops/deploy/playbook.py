"""How a release goes out, as data in YAML. Strict: an unknown key is an error with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tradeops.base.config import DurationS, Strict, load_yaml

SCHEMA = "tradeops/playbook/v1"


class Waves(Strict):
    """Sizes of the waves. first: hosts in the first.  then_share: at most this share of the fleet in each later one."""

    first: Annotated[int, Field(ge=1, le=1000)] = 1
    then_share: Annotated[str, Field(pattern=r"^([1-9]\d?|100)%$|^1/[1-9]\d?$")] = "1/3"

    def later_size(self, hosts: int) -> int:
        """Hosts in each later wave of a fleet of `hosts`: rounded down, at least one (D09)."""
        if self.then_share.endswith("%"):
            return max(1, hosts * int(self.then_share[:-1]) // 100)
        return max(1, hosts // int(self.then_share.split("/")[1]))


class Deadlines(Strict):
    """What a run waits for on each host before it calls the step failed."""

    connect: DurationS = 10.0
    verb: DurationS = 30.0
    silence: DurationS = 20.0
    drain: DurationS = 15.0
    stop: DurationS = 15.0
    prove: DurationS = 30.0
    control: DurationS = 5.0


class Preflight(Strict):
    """What a host must have before anything is touched."""

    disk_free_mb: Annotated[int, Field(ge=1)] = 512
    inodes_free: Annotated[int, Field(ge=1)] = 2000
    memory_available_mb: Annotated[int, Field(ge=1)] = 128
    clock_offset: DurationS = 2.0


class Playbook(Strict):
    """The whole document. keep: releases kept on each host besides the running and the previous one."""

    schema_: Annotated[Literal["tradeops/playbook/v1"], Field(alias="schema")]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    waves: Waves = Waves()
    deadlines: Deadlines = Deadlines()
    preflight: Preflight = Preflight()
    lease: DurationS = 120.0
    bake: DurationS = 0.0
    keep: Annotated[int, Field(ge=1, le=100)] = 3


def load_playbook(path: Path) -> Playbook:
    """Raises ConfigError."""
    return load_yaml(path, Playbook)
