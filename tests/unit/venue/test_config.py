"""The venue's file: strict, with the place of every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradeops.base.config import parse_yaml
from tradeops.base.errors import ConfigError
from tradeops.venue.book import SelfTrade
from tradeops.venue.config import AccountConfig, GeneratedFeed, ReplayFeed, VenueConfig

SYMBOL = 'symbols: [{symbol: ABC, tick: "0.01", lot: "0.001", price: "100"}]\n'


def parse(text: str) -> VenueConfig:
    return parse_yaml(text, VenueConfig, source="venue.yml")


def test_a_whole_file() -> None:
    """Amounts are decimal text, held in 1e-9 units; durations and sizes have units."""
    config = parse(
        SYMBOL
        + "name: lab\nself_trade: cancel_resting\nfeed_batch: 20ms\nmember_queue_max: 1MiB\njournal_file: j.jsonl\n"
        + "feed: {kind: replay, file: recorded.gz, speed_ppm: 0}\nports: {orders: 5001}\n"
        + 'accounts: [{name: a, oversees: ["*"]}]\n'
    )
    assert (config.symbols[0].tick, config.symbols[0].lot, config.symbols[0].price) == (10_000_000, 1_000_000, 100_000_000_000)
    assert config.feed == ReplayFeed(kind="replay", file=Path("recorded.gz"), speed_ppm=0)
    assert (config.self_trade, config.feed_batch, config.member_queue_max) == (SelfTrade.CANCEL_RESTING, 0.02, 1 << 20)
    assert (config.ports.orders, config.accounts[0].oversees) == (5001, ("*",))


def test_defaults_are_small_and_on_loopback() -> None:
    """A venue nobody configured is cheap and not reachable from outside."""
    config = parse(SYMBOL)
    assert (config.listen, config.control_listen, config.feed) == ("127.0.0.1", "127.0.0.1", GeneratedFeed())


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("name: x\n", "venue.yml:1", "symbols"),
        ("symbols: []\n", "venue.yml:1", "at least 1"),
        ("symbols: [{symbol: ABC, tick: 0.01}]\n", "venue.yml:1", "quote it"),
        ('symbols: [{symbol: ABC, tick: "-1"}]\n', "venue.yml:1", "above zero"),
        ('symbols: [{symbol: ABC, tick: "1e5"}]\n', "venue.yml:1", "not a decimal"),
        ('symbols: [{symbol: "A B"}]\n', "venue.yml:1", "without spaces"),
        ('symbols: [{symbol: ABC, tick: "1", price: "100"}]\n', "venue.yml:1", "thousand ticks"),
        ("symbols:\n- {symbol: ABC}\n- {symbol: ABC}\n", "venue.yml:1", "stands twice"),
        (SYMBOL + "feed: {kind: dice}\n", "venue.yml:2", "kind"),
        (SYMBOL + "feed_batch: 5\n", "venue.yml:2", "duration"),
        (SYMBOL + "ports: {orders: 70000}\n", "venue.yml:2", "65535"),
        (SYMBOL + "fede: {}\n", "venue.yml:2", "fede"),
    ],
)
def test_mistakes_are_found_with_line_and_key(text: str, where: str, what: str) -> None:
    """Missing, empty, float, negative, twice, unknown."""
    with pytest.raises(ConfigError) as found:
        parse(text)
    assert (found.value.where or "").startswith(where) and what in str(found.value)


def test_secrets_come_from_files(tmp_path: Path) -> None:
    """Stripped; missing or empty is an error that names the account, and the secret is not shown."""
    path = tmp_path / "secret"
    path.write_text("sesame\n")
    account = AccountConfig(name="a", secret_file=path).account()
    assert account.secret == b"sesame" and "sesame" not in repr(account)
    path.write_text("\n")
    for config in (AccountConfig(name="a", secret_file=path), AccountConfig(name="a", secret_file=tmp_path / "none")):
        with pytest.raises(ConfigError, match="account a"):
            config.account()
