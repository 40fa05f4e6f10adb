"""What enrolment sends, and how its answers are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from tests.support.agenthost import ManagedHost, envelope
from tradeops.base.errors import OutcomeUnknown, Refused, TradeopsError
from tradeops.contracts.envelope import Purpose
from tradeops.fleet.channel import Finished
from tradeops.fleet.enroll import Enrolled, Enrolment, enroll, host_file
from tradeops.fleet.host import Host
from tradeops.fleet.inventory import Service

SERVICE = Service("trader")


class Answering:
    """An admin whose host answers what the test says, and which keeps what was sent."""

    def __init__(self, status: int | None, stdout: bytes, stderr: bytes = b"") -> None:
        self._finished = Finished(status, stdout, stderr)
        self.argv: Sequence[str] = ()
        self.stdin = b""

    def exec_admin(self, host: Host, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float) -> Finished:
        """Keep, and answer."""
        self.argv, self.stdin = argv, stdin
        return self._finished


def _host(**changes: object) -> Host:
    values: dict[str, object] = {
        "name": "host-1",
        "address": "10.0.0.1",
        "port": 22,
        "user": "tradeops",
        "host_key": "",
        "control_port": 8443,
        "interpreter": "/usr/bin/python3",
        "root": PurePosixPath("/opt/tradeops"),
        "service_manager": "systemd",
    }
    return Host(**{**values, **changes})  # type: ignore[arg-type]  # a test names only what it is about


def _enrol(tmp_path: Path, admin: Answering, host: Host) -> Enrolled:
    managed = ManagedHost(tmp_path)
    policy = envelope(managed.policy(), Purpose.POLICY, managed.one)
    enrolment = Enrolment("test-fleet", managed.platform(), policy, None, (managed.one.public_line,))
    return enroll(admin, host, host_file(host, "test-fleet", SERVICE), enrolment, {"guard.key": "SECRET"})


def _said(**answer: object) -> bytes:
    return json.dumps(answer).encode() + b"\n"


GOOD = _said(ok=True, result={"host": "host-1", "platform": "sha256:x", "changed": ["policy"]})


def test_secrets_travel_on_standard_input_alone(tmp_path: Path) -> None:
    """The arguments are a fixed text; the guard's key is in none of them."""
    admin = Answering(0, b"greeting\n" + GOOD)
    assert _enrol(tmp_path, admin, _host()) == Enrolled("host-1", "sha256:x", ("policy",))
    assert admin.argv[:3] == ["/usr/bin/python3", "-I", "-B"] and not any("SECRET" in word for word in admin.argv)
    size, _, rest = admin.stdin.partition(b"\n")
    spec = json.loads(rest[int(size) :].partition(b"\n")[0])
    assert spec["tls"] == {"guard.key": "SECRET"} and spec["login"]["user"] == "tradeops"


def test_an_admin_who_is_not_root_uses_sudo(tmp_path: Path) -> None:
    """Without a prompt: it fails rather than hang."""
    admin = Answering(0, GOOD)
    _enrol(tmp_path, admin, _host(admin_user="admin-1"))
    assert admin.argv[:2] == ["sudo", "-n"]


@pytest.mark.parametrize(
    ("status", "stdout", "kind"),
    [
        (None, b"", OutcomeUnknown),
        (1, b"", TradeopsError),
        (0, b"", TradeopsError),
        (0, b"[]\n", TradeopsError),
        (0, b"nonsense\n", TradeopsError),
        (1, GOOD, TradeopsError),
        (0, _said(ok=False, error={"code": "older", "what": "w", "next": "n"}), Refused),
        (0, _said(ok=False, error={"code": "disk_full", "what": "w"}), TradeopsError),
    ],
)
def test_anything_but_a_clear_yes_is_an_error(tmp_path: Path, status: int | None, stdout: bytes, kind: type[TradeopsError]) -> None:
    """A missing exit status is unknown, a refusal keeps its words, the host is named."""
    with pytest.raises(kind) as raised:
        _enrol(tmp_path, Answering(status, stdout, b"stderr"), _host())
    assert raised.value.where == "host-1"


def test_the_host_file_follows_the_service_manager() -> None:
    """Users and the watched request under systemd; one user and the stop program itself under supervisord."""
    systemd = host_file(_host(), "f", SERVICE)
    assert (systemd.guard_user, systemd.trader_user, systemd.control_address) == ("tradeops-guard", "tradeops-trader", "10.0.0.1")
    assert systemd.stop_command == ("/usr/bin/touch", "/opt/tradeops/guard/stop-request")
    assert systemd.units["blue"] == "tradeops-trader@blue.service"
    local = host_file(_host(service_manager="supervisord", address="localhost"), "f", SERVICE, supervisor_socket="/s", clock_offset_ns=5)
    assert (local.guard_user, local.trader_user, local.control_address, local.clock_offset_ns) == (None, None, "0.0.0.0", 5)
    assert local.stop_command[-1] == "/opt/tradeops/bin/tradeops-stop"
    assert host_file(_host(fields={"control_address": "::"}), "f", SERVICE).control_address == "::"
