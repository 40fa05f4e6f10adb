"""What each verb does with its arguments. Sessions, locks and bodies are session.py's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import ask, blobs, documents, facts, journal, latch, prove, prune, release, service, slot, upgrade
from .hostfile import Context
from .wire import Body

Args = dict[str, Any]
Answer = dict[str, Any]
KEEP_MAX = 1000
STOP_S_MAX = 300.0
LATCH_WAIT_MS_MAX = 10_000


def _facts(context: Context, args: Args) -> Answer:
    return facts.facts(context)


def _prove(context: Context, args: Args) -> Answer:
    asked = None if args.get("release") is None else ask.digest(args, "release")
    return prove.prove(context, ask.slot(args), asked, rehash=ask.flag(args, "rehash"))


def _latch(context: Context, args: Args) -> Answer:
    wait_ms = ask.whole(args, "wait_ms", low=0, high=LATCH_WAIT_MS_MAX, default=0)
    return latch.latch(context, ask.mapping(args, "directive"), wait_ms=wait_ms, stop=ask.flag(args, "stop"))


def _witness(context: Context, args: Args) -> Answer:
    return {"heads": journal.heads(context)} if ask.flag(args, "read") else journal.witness(context, args)


def _roster(context: Context, args: Args) -> Answer:
    if ask.flag(args, "read"):
        return {"roster": documents.roster(context)}
    return documents.set_roster(context, ask.mapping(args, "roster"))


def _policy(context: Context, args: Args) -> Answer:
    return documents.set_policy(context, ask.mapping(args, "policy"))


def _assemble(context: Context, args: Args) -> Answer:
    return release.assemble(context, ask.digest(args, "release"))


def _switch(context: Context, args: Args) -> Answer:
    digest = None if args.get("release") is None else ask.digest(args, "release")
    overlay = None if args.get("overlay") is None else ask.mapping(args, "overlay")
    return slot.switch(context, ask.slot(args), digest, ask.mapping(args, "binding"), overlay)


def _start(context: Context, args: Args) -> Answer:
    return service.start(context, ask.slot(args))


def _stop(context: Context, args: Args) -> Answer:
    return service.stop(context, ask.slot(args), ask.number(args, "stop_timeout_s", low=0, high=STOP_S_MAX))


def _prune(context: Context, args: Args) -> Answer:
    return prune.prune(context, ask.whole(args, "keep", low=1, high=KEEP_MAX))


def _upgrade(context: Context, args: Args) -> Answer:
    return upgrade.upgrade(context, ask.mapping(args, "platform"))


FREE: dict[str, Callable[[Context, Args], Answer]] = {
    "facts": _facts,
    "prove": _prove,
    "latch": _latch,
    "witness": _witness,
    "roster": _roster,
    "policy": _policy,
}
"""Need no lock: they read, or only ever set, or carry their own signature and number."""

ALONE: dict[str, Callable[[Context, Args], Answer]] = {
    "assemble": _assemble,
    "switch": _switch,
    "start": _start,
    "stop": _stop,
    "prune": _prune,
    "upgrade": _upgrade,
}
"""Change the host: by the run that holds it, one at a time."""

INTAKE: dict[str, Callable[[Context, Body], Answer]] = {"missing": blobs.missing, "receive": blobs.receive}
"""Take bytes in: by the run that holds the host, beside anything else, since what they add has no name of its own."""
