"""A Prometheus that is down, lies, hangs, drips or answers by halves: every host has its reason, on time, and no sample."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.support.gates import NEW, Daemon, exposed
from tests.support.prometheus import Answer, http_server
from tests.support.sshd import free_port, host
from tradeops.base.clock import NS_PER_S, SystemClock
from tradeops.base.errors import Unreachable
from tradeops.contracts.metrics import PREFIX, Counter
from tradeops.fleet.control import HttpControls
from tradeops.fleet.outcome import Failed, Outcome, errors, values
from tradeops.gates.samples import Sample, parse_text, row_names
from tradeops.gates.sources import prometheus
from tradeops.gates.sources.choose import source_of
from tradeops.gates.sources.prometheus import Prometheus
from tradeops.gates.spec import GateSpec, PrometheusSource

CLOCK = SystemClock()
HOSTS = [host("host-1", port=1), host("host-2", port=1)]
NOW_S = 1_700_000_000.0


def ok(data: object) -> tuple[int, bytes]:
    return 200, json.dumps({"status": "success", "data": data}).encode()


def matrix(age_s: float = 0.5, spoil: tuple[str, str] = ("", "")) -> object:
    """What it remembers of host-1."""
    rows = parse_text(exposed(Daemon("host-1", NEW)), row_names(GateSpec()))
    series = []
    for row in rows:
        value = spoil[1] if row.name == spoil[0] else repr(row.value)
        labels: dict[str, str] = {"__name__": row.name, **row.labels}
        series.append({"metric": labels, "values": [[NOW_S - age_s - 1, "0"], [NOW_S - age_s, value]]})
    return {"resultType": "matrix", "result": series}


def answering(found: object, queries: list[dict[str, list[str]]] | None = None) -> Answer:
    def answer(path: str, body: bytes) -> tuple[int, bytes] | None:
        query = parse_qs(body.decode())
        if queries is not None:
            queries.append(query)
        if query["query"] == ["time()"]:
            return ok({"resultType": "scalar", "result": [NOW_S, str(NOW_S)]})
        return found if isinstance(found, tuple) else ok(found)

    return answer


def read(answer: Answer, *, deadline_s: float = 3.0) -> dict[str, Outcome[Sample]]:
    with http_server(answer) as port:
        source = PrometheusSource(kind="prometheus", url=f"http://127.0.0.1:{port}/", match=' job="x", ')
        return Prometheus(GateSpec(), source, CLOCK).read(HOSTS, deadline_s=deadline_s)


def test_the_newest_scrape_of_each_host_by_the_servers_own_clock() -> None:
    """One query for the time, one for raw samples of no longer than is fresh; a host without any has its reason."""
    queries: list[dict[str, list[str]]] = []
    outcomes = read(answering(matrix(), queries))
    found = values(outcomes)["host-1"]
    assert (found.release, found.taken_s, found.age_s) == (NEW, NOW_S - 0.5, 0.5)
    assert str(errors(outcomes)["host-2"]) == "host-2: Prometheus took no sample of it within 5 s"
    assert queries[1]["time"] == ["1700000000.0"]
    assert queries[1]["query"][0].startswith('{__name__=~"')
    assert queries[1]["query"][0].endswith('",job="x"}[5000ms]')


def test_a_series_that_has_gone_since_is_missing() -> None:
    """It is still remembered from the scrape before; that is not now."""
    found = matrix()
    assert isinstance(found, dict)
    for series in found["result"]:
        if series["metric"]["__name__"] == PREFIX + Counter.SIGNALS:
            series["values"].pop()
    assert f"does not export {PREFIX + Counter.SIGNALS}" in str(errors(read(answering(found)))["host-1"])


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (matrix(spoil=(PREFIX + Counter.SIGNALS, "NaN")), f"{PREFIX + Counter.SIGNALS} is nan"),
        (matrix(spoil=(PREFIX + Counter.SIGNALS, "many")), f"{PREFIX + Counter.SIGNALS} is not a number"),
        ({"resultType": "matrix", "result": []}, "took no sample of it within 5 s"),
        ({"resultType": "scalar", "result": [1.0, "1"]}, "it answers with no samples"),
        ({"resultType": "vector", "result": []}, "not as Prometheus does"),
        ((503, b"Service Unavailable"), "it answers 503 and not as Prometheus does"),
        ((200, b"\xff\xfe"), "not as Prometheus does"),
        ((400, b'{"status":"error","errorType":"bad_data","error":"parse error"}'), "its answer is not whole: parse error"),
        ((200, b'{"status":"success","warnings":["one store is down"]}'), "its answer is not whole: one store is down"),
        ((200, b'{"status":"error"}'), "its answer is not whole: error"),
    ],
)
def test_what_cannot_be_judged_is_no_sample(found: object, what: str) -> None:
    """NaN, text, nothing, other kinds of answers, errors, and answers that say themselves that they are parts."""  # D11
    outcomes = read(answering(found))
    assert values(outcomes) == {}
    assert what in str(errors(outcomes)["host-1"])


def test_a_server_that_does_not_tell_its_time_is_not_believed() -> None:
    """Ages are told by its own clock."""
    outcomes = read(lambda path, body: ok({"resultType": "matrix", "result": []}))
    assert {str(error).split(": ", 1)[1] for error in errors(outcomes).values()} == {"it does not tell its time"}


def test_a_server_that_is_down_fails_every_host() -> None:
    """And one that drops the connection."""
    source = PrometheusSource(kind="prometheus", url=f"http://127.0.0.1:{free_port()}")
    spec = GateSpec(source=source)
    outcomes = source_of(spec, HttpControls(Path("none"), CLOCK), CLOCK).read(HOSTS, deadline_s=3)
    assert all(isinstance(outcome, Failed) and isinstance(outcome.error, Unreachable) for outcome in outcomes.values())
    assert "Prometheus does not answer" in str(errors(read(lambda path, body: None))["host-2"])


@contextmanager
def dripping(every_s: float, piece: bytes) -> Iterator[int]:
    """A server that sends a head, and then a piece now and then for ever. Nothing at all when the piece is empty."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                if piece:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
                while not over.wait(every_s):
                    if piece:
                        try:
                            connection.sendall(piece)
                        except OSError:
                            return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        over.set()
        thread.join()


@pytest.mark.parametrize("piece", [b"", b" "])
def test_a_server_that_hangs_or_drips_is_given_up_on_time(piece: bytes) -> None:
    """Each read would be in time by itself; the whole is not."""
    with dripping(0.05, piece) as port:
        source = PrometheusSource(kind="prometheus", url=f"http://127.0.0.1:{port}")
        start_ns = CLOCK.monotonic_ns()
        outcomes = Prometheus(GateSpec(), source, CLOCK).read(HOSTS, deadline_s=0.4)
    assert CLOCK.monotonic_ns() - start_ns < 5 * NS_PER_S
    assert len(errors(outcomes)) == 2


def test_an_answer_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit to what is read."""
    monkeypatch.setattr(prometheus, "ANSWER_BYTES_MAX", 1000)
    assert "does not come to an end" in str(errors(read(lambda path, body: (200, b" " * 5000)))["host-1"])
