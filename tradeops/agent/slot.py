"""Points a slot at a release, with the binding and the overlay that go with it; the link turns last, in one step."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from . import release, service, verify
from .errors import OLDER, SERVICE, SIGNATURE, AgentError, bad_request
from .files import canonical, fsync_dir, parse_object, read_object, relink, write_atomic
from .hostfile import Context
from .names import linked_digest
from .units import DOWN
from .verify import body_of


def switch(context: Context, slot: str, digest: str | None, binding: dict[str, Any], overlay: dict[str, Any] | None) -> dict[str, Any]:
    """Set binding, overlay and link; `digest` None: the link is taken away. The service must be down.

    Raises AgentError (not_found, signature, older, service), OSError.
    """
    if digest is not None:
        release.present(context, digest)
    policy = verify.host_policy(context)
    _check_binding(context, policy, binding)
    if overlay is None:
        _check_no_overlay(context, slot)
    else:
        _check_overlay(context, policy, overlay)
    unit = service.unit_of(context, slot)
    if service.manager(context).states(unit)[unit].state not in DOWN:
        raise AgentError(SERVICE, f"{unit} still runs, so slot {slot} is not switched", next="stop it first")
    folder = context.layout.slot(slot)
    previous = linked_digest(folder / "current")
    write_atomic(folder / "binding.json", canonical(binding), 0o644)
    if overlay is None:
        (folder / "overlay.json").unlink(missing_ok=True)
    else:
        write_atomic(folder / "overlay.json", canonical(overlay), 0o644)
    if previous and previous != digest:
        relink(folder / "previous", f"../../releases/{previous[7:]}")
    _turn(folder / "current", digest)
    return {"previous": previous}


def binding_digest(context: Context, slot: str) -> str | None:
    """The digest of the binding in force, None when there is none or it is damaged."""
    try:
        envelope = read_object(context.layout.slot(slot) / "binding.json")
        return "sha256:" + hashlib.sha256(body_of(envelope)).hexdigest() if envelope else None
    except (AgentError, OSError):
        return None


def overlay_number(context: Context) -> int:
    """The highest overlay number beside any slot, 0 for none."""
    return max((_overlay_of(context, slot) for slot in context.host.units), default=0)


def _overlay_of(context: Context, slot: str) -> int:
    """The number of the overlay beside the slot, 0 for none or one that cannot be read."""
    try:
        envelope = read_object(context.layout.slot(slot) / "overlay.json")
        return _number(envelope) if envelope else 0
    except (AgentError, OSError):
        return 0


def previous(context: Context) -> str | None:
    """The release that a slot ran before the one it runs."""
    return next((digest for slot in sorted(context.host.units) if (digest := linked_digest(context.layout.slot(slot) / "previous"))), None)


def linked(context: Context) -> set[str]:
    """Every release that a slot's `current` or `previous` leads to."""
    links = [context.layout.slot(slot) / name for slot in context.host.units for name in ("current", "previous")]
    return {digest for link in links for digest in [linked_digest(link)] if digest}


def _turn(link: Path, digest: str | None) -> None:
    if digest is None:
        link.unlink(missing_ok=True)
        fsync_dir(link.parent)
    else:
        relink(link, f"../../releases/{digest[7:]}")


def _check_binding(context: Context, policy: verify.Policy, envelope: dict[str, Any]) -> None:
    verify.entitled(policy, "binding", envelope, verify.BINDING)
    body = parse_object(body_of(envelope), "the binding")
    host = context.host
    if (body.get("fleet"), body.get("host"), body.get("service")) != (host.fleet, host.host, host.service):
        said = f"the binding is for {body.get('service')!r} on {body.get('host')!r} of fleet {body.get('fleet')!r}"
        raise AgentError(SIGNATURE, said, next=f"sign one for {host.service!r} on {host.host!r} of fleet {host.fleet!r}")


def _check_overlay(context: Context, policy: verify.Policy, envelope: dict[str, Any]) -> None:
    verify.entitled(policy, "overlay", envelope, verify.DIRECTIVE)
    number = _number(envelope)
    if number < overlay_number(context):
        raise AgentError(OLDER, f"overlay {number} is older than {overlay_number(context)}, which is in force here")


def _check_no_overlay(context: Context, slot: str) -> None:
    """None at all is older than any: what an overlay has turned off does not come back with a switch."""
    number = _overlay_of(context, slot)
    if number > 0:
        said = f"no overlay was given, and overlay {number} is in force in slot {slot}"
        raise AgentError(OLDER, said, next=f"send overlay {number} or a newer one along")


def _number(envelope: dict[str, Any]) -> int:
    """The number of the overlay inside the directive that carries it."""
    document = parse_object(body_of(envelope), "the overlay")
    overlay = (document.get("args") or {}).get("overlay") if document.get("verb") == "overlay" else None
    number = overlay.get("number") if isinstance(overlay, dict) else None
    if not isinstance(number, int):
        raise bad_request("the overlay has no number")
    return number
