"""A person's own SSH client configuration is asked, and its damage named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sshd import make_key
from tradeops.base.errors import ConfigError
from tradeops.fleet.ssh import read_ssh_config


def test_ssh_config_is_read(tmp_path: Path) -> None:
    make_key(tmp_path / "id")
    (tmp_path / "config").write_text(
        f"Host fast\n  HostName 192.0.2.7\n  User alice\n  Port 2200\n  IdentityFile {tmp_path}/absent\n  IdentityFile {tmp_path}/id\n"
        "  ProxyJump one,bob@two:23\n"
    )
    ask = read_ssh_config(tmp_path / "config")
    entry = ask("fast")
    assert (entry.host_name, entry.user, entry.port, entry.identity_file) == ("192.0.2.7", "alice", 2200, f"{tmp_path}/id")
    assert entry.proxy_jump == ("one", "bob@two:23")
    assert ask("slow").host_name is None


def test_broken_ssh_config_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host\x00\n ???\n")
    with pytest.raises(ConfigError, match="config"):
        read_ssh_config(tmp_path / "config")
