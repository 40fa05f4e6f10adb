"""`lab`: a fleet on this machine, up, down, restarted, and with faults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradeops.base.errors import UsageError
from tradeops.cli.context import Context
from tradeops.cli.options import context
from tradeops.cli.report import NO, YES, Report, table

lab = typer.Typer(help="A fleet on this machine, and faults for it.", rich_markup_mode=None, add_completion=False, no_args_is_help=True)

Folder = Annotated[Path | None, typer.Argument(metavar="DIR", help="The lab's folder [that of the fleet file]")]
InFolder = Annotated[Path | None, typer.Option("--dir", metavar="DIR", help="The lab's folder [that of the fleet file]")]


@lab.command("up")
def up(
    ctx: typer.Context,
    folder: Folder = None,
    driver: Annotated[str, typer.Option("--driver", help="local (no root, pip only) or nspawn (real systemd hosts).")] = "local",
    hosts: Annotated[int, typer.Option("--hosts", help="How many.")] = 8,
    network: Annotated[str | None, typer.Option("--network", metavar="RANGE", help="Where to take addresses from.")] = None,
) -> Report:
    """Hosts, a venue, a fleet file with keys for its people; every host enrolled. The folder must be empty of labs and fleets."""
    from tradeops.lab.up import up as bring_up

    c = context(ctx)
    place = _place(c, folder)
    if network is not None:
        _require_range(network, driver)
    if place.exists() and not place.is_dir():
        raise UsageError("it is no folder", where=str(place), next="name a new or empty folder")
    state = bring_up(place, driver, hosts, c.clock, c.printer.line, network=network)
    rows = [(f"{YES} {host.name}", host.address, host.port, host.control_port) for host in state.hosts]
    return Report(
        "lab-up",
        f"{len(rows)} hosts are up and enrolled, on {state.network}",
        hosts=tuple({"host": host.name, "address": host.address, "port": host.port} for host in state.hosts),
        tables=(table(("host", "address", "ssh", "guard"), rows),),
        next=f"cd {place}; tradeops status",
        data={"driver": state.driver, "dir": str(place), "network": state.network},
    )


@lab.command("down")
def down(ctx: typer.Context, folder: Folder = None) -> Report:
    """Take all of a lab away, also one that is half up or half gone."""
    from tradeops.lab.up import down as take_down

    c = context(ctx)
    place = _place(c, folder)
    take_down(place, c.clock, c.printer.line)
    return Report("lab-down", "nothing of the lab is left", data={"dir": str(place)})


@lab.command("status")
def status(ctx: typer.Context, folder: InFolder = None) -> Report:
    """The hosts of a lab, and the faults that are in force."""
    from tradeops.lab.state import StateFile

    c = context(ctx)
    state = StateFile(_place(c, folder)).read()
    faults = {host.name: [fault.kind for fault in state.faults if fault.host == host.name] for host in state.hosts}
    rows = [(f"{NO if faults[host.name] else YES} {host.name}", host.address, ", ".join(faults[host.name]) or None) for host in state.hosts]
    return Report(
        "lab-status",
        f"{state.driver} lab {state.id}: {len(rows)} hosts, {len(state.faults)} faults",
        hosts=tuple({"host": host.name, "address": host.address, "faults": faults[host.name]} for host in state.hosts),
        tables=(table(("host", "address", "faults"), rows),),
        data={"driver": state.driver, "lab": state.id},
    )


@lab.command("faults")
def faults(ctx: typer.Context) -> Report:
    """Every fault there is: what it does, and what may be set about it."""
    from tradeops.lab.kinds import KINDS

    rows = [(kind.name, kind.does, " ".join(f"{key}={value}" for key, value in kind.settings.items()) or None) for kind in KINDS.values()]
    return Report("lab-faults", f"{len(rows)} faults", tables=(table(("fault", "does", "settings"), rows),), data={"faults": list(KINDS)})


@lab.command("fault")
def fault(
    ctx: typer.Context,
    host: Annotated[str, typer.Argument(metavar="HOST")],
    kind: Annotated[str, typer.Argument(metavar="KIND", help="`tradeops lab faults` lists them.")],
    settings: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="What is set about it.")] = None,
    folder: InFolder = None,
) -> Report:
    """Break something on one host. It is in force when the command ends."""
    from tradeops.lab.faults import inject
    from tradeops.lab.kinds import KINDS

    c = context(ctx)
    done = inject(_place(c, folder), host, kind, _settings(settings or []), c.clock)
    lasting = KINDS[kind].lasting
    return Report(
        "lab-fault",
        f"{host}: {KINDS[kind].does}",
        hosts=({"host": host, "fault": kind},),
        next=f"tradeops lab heal {host} {kind}" if lasting else "",
        data={"detail": done.detail, "lasting": lasting},
    )


@lab.command("heal")
def heal(
    ctx: typer.Context,
    host: Annotated[str, typer.Argument(metavar="HOST")],
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help="[all of them]")] = None,
    folder: InFolder = None,
) -> Report:
    """Undo one fault of a host, or all."""
    from tradeops.lab.faults import heal as undo

    c = context(ctx)
    done = [each.kind for each in undo(_place(c, folder), host, kind, c.clock)]
    return Report("lab-heal", f"{host}: {', '.join(done)} healed" if done else f"{host} had no fault", data={"host": host, "healed": done})


@lab.command("restart")
def restart(
    ctx: typer.Context, host: Annotated[str | None, typer.Argument(metavar="HOST", help="[all of them]")] = None, folder: InFolder = None
) -> Report:
    """Restart every daemon that runs, as a clumsy hand would."""
    from tradeops.lab.restart import restart as again

    c = context(ctx)
    done = again(_place(c, folder), c.clock, c.printer.line, host=host)
    return Report("lab-restart", f"{len(done)} daemons restarted", data={"restarted": list(done)})


def _place(c: Context, folder: Path | None) -> Path:
    return (folder or c.options.fleet.parent).absolute()


def _require_range(network: str, driver: str) -> None:
    """A private IPv4 range (local: of loopback), asked for before anything is made. Raises UsageError."""
    import ipaddress

    advice = "write one as 10.213.0.0/16 (nspawn) or 127.64.0.0/10 (local)"
    try:
        whole = ipaddress.ip_network(network)
    except ValueError as error:
        raise UsageError(f"--network: {error}", next=advice) from None
    if whole.version != 4 or not whole.is_private or whole.prefixlen > 24:
        raise UsageError(f"--network: {network} is no private IPv4 range of at least a /24", next=advice)
    if driver == "local" and not whole.is_loopback:
        raise UsageError(f"--network: {network} is no loopback range, and the local driver has no other", next=advice)


def _settings(words: list[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    if wrong := [word for word, (name, equals, _value) in zip(words, pairs, strict=True) if not name or not equals]:
        raise UsageError(f"{wrong[0]!r} is no setting", next="write NAME=VALUE, as percent=10")
    return {name: value for name, _equals, value in pairs}
