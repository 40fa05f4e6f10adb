"""Samples read from a Prometheus server, with the times at which it took them: what it remembers is not what is.

An instant query answers with values up to five minutes old as if they were of now. So the samples themselves are asked
for, over a range no longer than the gate's `fresh`, and only the newest scrape of each host counts: a series that has
gone since is missing. Times are compared with the server's own clock. Source: Prometheus documentation, "HTTP API" and
"Querying basics" (staleness).
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterator, Mapping, Sequence

import httpx
import msgspec

from tradeops.base.clock import NS_PER_MS, NS_PER_S, Clock
from tradeops.base.errors import TradeopsError, Unreachable
from tradeops.contracts.codec import parse
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Failed, Outcome
from tradeops.gates.samples import BadSample, Row, Sample, assemble, number, row_names
from tradeops.gates.spec import GateSpec, PrometheusSource

ANSWER_BYTES_MAX = 64 << 20


class _Series(msgspec.Struct, frozen=True):
    metric: dict[str, str]
    values: list[tuple[float, str]]


class _Matrix(msgspec.Struct, frozen=True, tag_field="resultType", tag="matrix"):
    result: list[_Series]


class _Scalar(msgspec.Struct, frozen=True, tag_field="resultType", tag="scalar"):
    result: tuple[float, str]


class _Answer(msgspec.Struct, frozen=True):
    """status: success or error.  warnings: the answer may be only a part of what there is."""

    status: str
    data: _Matrix | _Scalar | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()


class Prometheus:
    """sources.port.Source over the HTTP API of `source`."""

    def __init__(self, spec: GateSpec, source: PrometheusSource, clock: Clock) -> None:
        self._spec = spec
        self._source = source
        self._clock = clock
        self._tls = ssl.create_default_context()

    def read(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Sample]]:
        """See sources.port.Source. A server that does not answer rightly is the failure of every host."""
        start_ns = self._clock.monotonic_ns()

        def elapsed_ms() -> float:
            return (self._clock.monotonic_ns() - start_ns) / NS_PER_MS

        try:
            now_s, series = self._ask(start_ns + int(deadline_s * NS_PER_S))
        except TradeopsError as error:
            error.where = self._source.url
            return {host.name: Failed(error, elapsed_ms()) for host in hosts}
        of_host: dict[str, list[_Series]] = {}
        for one in series:
            of_host.setdefault(one.metric.get(self._source.host, ""), []).append(one)
        return {host.name: self._outcome(host.name, of_host.get(host.name, []), now_s, elapsed_ms()) for host in hosts}

    def _ask(self, deadline_ns: int) -> tuple[float, list[_Series]]:
        """The server's time, and the samples it took shortly before. Raises Unreachable, BadSample."""
        clock = self._query({"query": "time()"}, deadline_ns)
        if not isinstance(clock, _Scalar):
            raise BadSample("it does not tell its time")
        names = "|".join(sorted(row_names(self._spec)))
        matchers = ",".join(part for part in (f'__name__=~"{names}"', self._source.match.strip(" ,")) if part)
        query = f"{{{matchers}}}[{math.ceil(self._spec.fresh * 1000)}ms]"
        found = self._query({"query": query, "time": repr(clock.result[0])}, deadline_ns)
        if not isinstance(found, _Matrix):
            raise BadSample("it answers with no samples")
        return clock.result[0], found.result

    def _query(self, parameters: Mapping[str, str], deadline_ns: int) -> _Matrix | _Scalar | None:
        try:
            status, body = self._post(parameters, deadline_ns)
        except httpx.HTTPError as error:
            raise Unreachable(f"Prometheus does not answer: {error or type(error).__name__}") from None
        try:
            answer = parse(body, _Answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadSample(f"it answers {status} and not as Prometheus does: {error}") from None
        if answer.status != "success" or answer.warnings:
            raise BadSample(f"its answer is not whole: {answer.error or '; '.join(answer.warnings) or answer.status}")
        return answer.data

    def _post(self, parameters: Mapping[str, str], deadline_ns: int) -> tuple[int, bytes]:
        body = bytearray()
        url = f"{self._source.url.rstrip('/')}/api/v1/query"
        timeout_s = max(0.001, (deadline_ns - self._clock.monotonic_ns()) / NS_PER_S)
        # What the environment says about proxies is for the outside world; this server is the fleet's own.
        with (
            httpx.Client(trust_env=False, verify=self._tls, timeout=timeout_s) as client,
            client.stream("POST", url, data=parameters) as response,
        ):
            for part in response.iter_bytes():
                body += part
                # Each read has its own timeout: a server that drips would never meet it.
                if len(body) > ANSWER_BYTES_MAX or self._clock.monotonic_ns() > deadline_ns:
                    raise Unreachable(f"Prometheus does not come to an end: {len(body)} bytes so far")
        return response.status_code, bytes(body)

    def _outcome(self, host: str, series: Sequence[_Series], now_s: float, elapsed_ms: float) -> Outcome[Sample]:
        try:
            return Done(self._sample(host, series, now_s), elapsed_ms)
        except BadSample as error:
            error.where = host
            return Failed(error, elapsed_ms)

    def _sample(self, host: str, series: Sequence[_Series], now_s: float) -> Sample:
        newest_s = max((one.values[-1][0] for one in series), default=None)
        if newest_s is None:
            raise BadSample(f"Prometheus took no sample of it within {self._spec.fresh:g} s")
        labels = (self._source.host, self._source.release)
        return assemble(host, _rows(series, newest_s), self._spec, taken_s=newest_s, age_s=now_s - newest_s, labels=labels)


def _rows(series: Sequence[_Series], at_s: float) -> Iterator[Row]:
    """The samples of the scrape at `at_s`."""
    for one in series:
        taken_s, text = one.values[-1]
        if taken_s == at_s:
            labels = dict(one.metric)
            name = labels.pop("__name__", "")
            yield Row(name, labels, number(text, name))
