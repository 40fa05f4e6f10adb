"""What really runs here, read back from the host: never what was asked for (D01, D02, D04)."""

from __future__ import annotations

from typing import Any

from . import processes, release, service, slot, vitals
from .clock import NS_PER_MS
from .errors import AgentError
from .hostfile import Context
from .manifest import Manifest
from .names import linked_digest

STALE_MS = 5000.0
_IDENTITY = ("service", "release", "binding", "overlay", "slot", "pid", "start_ticks", "started_wall_ns", "flags")


def prove(context: Context, name: str, asked: str | None, *, rehash: bool) -> dict[str, Any]:
    """contracts.agent.Proof of one slot. asked: whose declared-removed paths are looked for; None: the linked release's.

    rehash: compare every file; without it no file is looked at, and the proof says that none was.
    """
    problems: list[str] = []
    linked = linked_digest(context.layout.slot(name) / "current")
    manifest = _manifest(context, linked, problems) if rehash else None
    bad = release.differences(context.layout.release(manifest.id) / "tree", manifest) if manifest else []
    state, main, others = service.look(context, name)
    identity, age_ms = _vitals(context, name, problems)
    return {
        "slot": name,
        "linked": linked,
        "binding": slot.binding_digest(context, name),
        "unit_state": state.state,
        "process": main.public() if main else None,
        "others": [process.public() for process in others],
        "files_checked": len(manifest.files) if manifest else 0,
        "bad_files": bad,
        "present_removed": _present_removed(context, linked, asked, manifest, problems) if rehash else [],
        "vitals": identity,
        "vitals_age_ms": age_ms,
        "wall_ns": context.clock.wall_ns(),
        "problems": problems,
    }


def _manifest(context: Context, digest: str | None, problems: list[str]) -> Manifest | None:
    if digest is None:
        problems.append("the slot is linked to no release")
        return None
    try:
        return release.present(context, digest)
    except (AgentError, OSError) as error:
        problems.append(f"the linked release cannot be read: {error}")
        return None


def _present_removed(context: Context, linked: str | None, asked: str | None, manifest: Manifest | None, problems: list[str]) -> list[str]:
    """Declared-removed paths that are in the linked tree all the same (D04)."""
    declaring = manifest if asked in (None, linked) else _manifest(context, asked, problems)
    if linked is None or declaring is None:
        return []
    tree = context.layout.release(linked) / "tree"
    return [path for path in declaring.removed if (tree / path).is_symlink() or (tree / path).exists()]


def _vitals(context: Context, name: str, problems: list[str]) -> tuple[dict[str, Any] | None, float | None]:
    """The identity in the vitals page and its age; no identity when the page is stale or its writer is dead."""
    page = vitals.read_vitals(context.layout.vitals_page(name))
    identity = page.get("identity") if page else None
    beat_ns = page.get("beat_ns") if page else None
    if not isinstance(identity, dict) or not isinstance(beat_ns, int) or any(field not in identity for field in _IDENTITY[:-1]):
        problems.append("there are no vitals")
        return None, None
    age_ms = (context.clock.monotonic_ns() - beat_ns) / NS_PER_MS
    if not 0 <= age_ms <= STALE_MS or not processes.alive(identity["pid"], identity["start_ticks"]):
        problems.append(f"the vitals are {age_ms:.0f} ms old or their process is gone")
        return None, age_ms
    if identity["slot"] != name:
        problems.append(f"the vitals are of slot {identity['slot']}")
    return {field: identity[field] for field in _IDENTITY if field in identity}, age_ms
