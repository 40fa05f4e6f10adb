"""One host's sample from what it exports: whole, or refused with the reason."""

from __future__ import annotations

import math

import pytest

from tests.support.gates import EDGES, LATENCY, NEW, OLD, Daemon, exposed
from tradeops.contracts.metrics import PREFIX, Counter, Gauge
from tradeops.gates.samples import BadSample, Buckets, Sample, assemble, parse_text, row_names
from tradeops.gates.spec import GateSpec

SPEC = GateSpec()
SIGNALS = PREFIX + Counter.SIGNALS


def text() -> str:
    daemon = Daemon("host-1", NEW, started_s=123.5)
    daemon.count(signals=40, errors=2, slow=1)
    return exposed(daemon, age_s=0.25)


def sample(exposition: str, *, spec: GateSpec = SPEC) -> Sample:
    return assemble("host-1", parse_text(exposition, row_names(spec)), spec, taken_s=50.0, age_s=0.5)


def test_a_guards_own_text_is_a_sample() -> None:
    """Its age is the source's and the guard's together; it was taken when the trader wrote it."""
    found = sample(text())
    assert (found.host, found.release, found.started_s) == ("host-1", NEW, 123.5)
    assert (found.taken_s, found.age_s) == (49.75, 0.75)
    assert found.values[SIGNALS] == 40
    assert found.histograms == {LATENCY: Buckets(EDGES, (39, 39, 39, 40, 40))}


def test_the_format_is_read_as_it_is_written_down() -> None:
    """Comments, blank lines, spaces, escapes, exponents, infinities; names that nobody asks for are passed over, whatever they say."""
    rows = parse_text(
        '# HELP a b\n\n  \na{x = "1", y="q\\"\\\\\\n",} 1e3\na 2 \nb{oops} 5\nc +Inf\nd nan\n'.replace("b{oops} 5", 'b{z="}"} 5'),
        frozenset("acd"),
    )
    assert [(row.name, dict(row.labels), row.value) for row in rows[:3]] == [
        ("a", {"x": "1", "y": 'q"\\\n'}, 1000.0),
        ("a", {}, 2.0),
        ("c", {}, math.inf),
    ]
    assert math.isnan(rows[3].value)


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ("a 1 1700000000000", "line 1 of its metrics is not a sample"),
        ("<html>", "line 1 of its metrics is not a sample"),
        ('a{x="1" 2', "line 1 of its metrics is not a sample"),
        ("a{x=1} 2", "line 1 of its metrics has labels that cannot be read"),
        ('a{x="1",x="2"} 2', "line 1 of its metrics has labels that cannot be read"),
        ("a one", "a is not a number: 'one'"),
    ],
)
def test_what_is_not_the_format_is_refused(bad: str, what: str) -> None:
    """A timestamp too: no guard gives one, and nobody could tell its age."""
    with pytest.raises(BadSample, match=what.replace("(", r"\(")):
        parse_text(bad, frozenset("a"))


def _line(name: str) -> str:
    return next(line for line in text().splitlines() if line.startswith(name + "{"))


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("", "", "exports none of the series"),
        (f"{SIGNALS}{{", "x{", f"does not export {SIGNALS}"),
        (_line(SIGNALS), _line(SIGNALS).replace(" 40", " NaN"), f"{SIGNALS} is nan"),
        (_line(SIGNALS), _line(SIGNALS).replace(" 40", " +Inf"), f"{SIGNALS} is inf"),
        (_line(SIGNALS), _line(SIGNALS) + "\n" + _line(SIGNALS), f"{SIGNALS} is there twice"),
        ('host="host-1"', 'host="host-2"', "those of another host: 'host-2'"),
        ('host="host-1"', 'hast="host-1"', "those of another host: ''"),
        (NEW, "", "do not say which release"),
        (_line(SIGNALS), _line(SIGNALS) + "\n" + _line(SIGNALS).replace(NEW, OLD), "series of 2 releases at once"),
        (LATENCY + "_bucket", "x", f"does not export the histogram {LATENCY} whole"),
        ('le="+Inf"', 'le="9"', f"does not export the histogram {LATENCY} whole"),
        ('le="+Inf"', 'le="x"', f"an edge of {LATENCY} is not a number"),
        ('le="0.01"} 39', 'le="0.01"} 41', f"the buckets of the histogram {LATENCY} do not add up"),
    ],
)
def test_what_is_not_whole_is_no_sample(before: str, after: str, what: str) -> None:
    """Missing, twice, not finite, another host's, of two releases, of none."""  # D11
    spoiled = text().replace(before, after) if before else ""
    with pytest.raises(BadSample) as caught:
        sample(spoiled)
    assert what in str(caught.value)


def test_of_two_slots_the_one_in_force_counts() -> None:
    """A standby of another release beside it is no other release."""
    standby = exposed(Daemon("host-1", OLD)).replace('slot="blue"', 'slot="green"')
    standby = standby.replace(PREFIX + Gauge.TRADING + '{host="host-1",release="sha256:old",slot="green"} 1', "# not in force")
    assert sample(text() + standby).release == NEW
    with pytest.raises(BadSample, match="more than one slot"):
        sample(text() + standby, spec=SPEC.model_copy(update={"active": None}))


def test_of_two_slots_the_one_beside_can_be_asked_for() -> None:
    """A standby is judged by what it says; where none stands by, or nobody says that it is in force, there is no sample."""  # D10
    standby = exposed(Daemon("host-1", OLD)).replace('slot="blue"', 'slot="green"')
    standby = standby.replace(PREFIX + Gauge.TRADING + '{host="host-1",release="sha256:old",slot="green"} 1', "# not in force")
    beside = SPEC.model_copy(update={"slot": "standby"})
    assert sample(text() + standby, spec=beside).release == OLD
    with pytest.raises(BadSample, match="no standby beside"):
        sample(text(), spec=beside)
    with pytest.raises(ValueError, match="told from the slot in force"):
        GateSpec.model_validate({"slot": "standby", "active": None})


def test_series_with_further_labels_are_added_up() -> None:
    """A service counts by status code; a histogram by path."""
    spec = GateSpec.model_validate(
        {
            "start": "start",
            "age": None,
            "active": None,
            "exposure": "requests",
            "metrics": {
                "errors": {"kind": "ratio", "events": "errors", "per": "requests", "limit": "1%"},
                "latency": {"kind": "latency", "histogram": "took", "limit": "1s"},
            },
        }
    )
    lines = ["start 7", 'errors{code="500"} 1', 'errors{code="503"} 2', "requests 100"]
    lines += [f'took_bucket{{path="{path}",le="{edge}"}} {count}' for path in "ab" for edge, count in (("1", 4), ("+Inf", 5))]
    whole = "\n".join(line.replace("{", "{,") if "{" in line else line.replace(" ", "{,} ") for line in lines)
    found = sample(whole.replace("{,", '{host="host-1",release="r",'), spec=spec)
    assert found.values == {"start": 7, "errors": 3, "requests": 100}
    assert found.histograms["took"] == Buckets((1.0, math.inf), (8.0, 10.0))
    assert (found.started_s, found.age_s) == (7.0, 0.5)


def test_a_histogram_is_asked_by_its_edges() -> None:
    """Limits are rounded up to the next; a quantile is the edge under which enough lie."""
    buckets = Buckets((0.1, 0.5, math.inf), (90.0, 99.0, 100.0))
    assert [buckets.edge(limit) for limit in (0.05, 0.1, 0.11, 0.6)] == [0.1, 0.1, 0.5, math.inf]
    assert [buckets.over(edge) for edge in (0.1, 0.5)] == [10.0, 1.0]
    assert [buckets.quantile_edge(quantile) for quantile in (0.9, 0.95, 0.99, 0.995)] == [0.1, 0.5, 0.5, math.inf]
    with pytest.raises(BadSample, match="other bucket edges"):
        buckets.combine(Buckets((0.2, 0.5, math.inf), (1.0, 1.0, 1.0)), 1)
