"""What a scrape gets can be read, has the buckets and names of the table, and tells traces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import pytest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from routing.telemetry.exposition import OPEN_METRICS, merged
from routing.telemetry.instruments import Instruments, Reading
from routing.telemetry.metrics import MEMORY, METRICS, SESSIONS, TURNS, VOICE_TO_VOICE, VOICE_TO_VOICE_SEC, Metric
from tests.counted import SAMPLED, Counted

type Read = Callable[[str], Iterable[Family]]

read_open_metrics: Read = openmetrics.text_string_to_metric_families

HEARD = {"target": "device", "outcome": "ok", "measured": "caller"}
WANTED = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3"
FORMATS = [("", text_string_to_metric_families), (WANTED, read_open_metrics)]


def samples(families: Iterable[Family], name: str) -> Iterator[Sample]:
    return (sample for family in families for sample in family.samples if sample.name == name)


@pytest.mark.parametrize(("accept", "read"), FORMATS)
def test_every_metric_has_the_name_and_the_buckets_of_the_table(accept: str, read: Read) -> None:
    counted = Counted.new()
    for metric in METRICS:
        count_once(counted.instruments, metric)
    scrape = counted.exposition.scrape(accept=accept, labels={"worker": "1"})
    families = {family.name: family for family in read(scrape.text)}
    assert families.keys() == {metric.prometheus_name.removesuffix("_total") for metric in METRICS}
    for metric in METRICS:
        family = families[metric.prometheus_name.removesuffix("_total")]
        edges = [sample.labels["le"] for sample in family.samples if "le" in sample.labels]
        assert (family.documentation, family.type) == (metric.description, metric.kind)
        assert edges == [*map(str, metric.bounds), "+Inf"] if metric.bounds else edges == []
        assert all(sample.labels.keys() - {"le"} == {*metric.labels, "worker"} for sample in family.samples)
    assert scrape.media_type.startswith(OPEN_METRICS if accept else "text/plain")


def count_once(instruments: Instruments, metric: Metric) -> None:
    labels = dict.fromkeys(metric.labels, "some")
    match metric.kind:
        case "histogram":
            instruments.record(metric, 1, labels)
        case "counter":
            instruments.add(metric, 1, labels)
        case _:
            instruments.observe(metric, lambda: [Reading(1, labels)])


def test_buckets_add_up_and_keep_the_last_trace_that_fell_into_them() -> None:
    counted = Counted.new()
    for seconds in (0.42, 0.8, 11.0):
        counted.instruments.record(VOICE_TO_VOICE, seconds, HEARD, carrier=SAMPLED)
    counted.exposition.scrape(accept=WANTED)  # by somebody else
    families = list(read_open_metrics(counted.exposition.scrape(accept=WANTED).text))
    buckets = list(samples(families, f"{VOICE_TO_VOICE.prometheus_name}_bucket"))
    told = {bucket.labels["le"]: bucket.exemplar for bucket in buckets if bucket.exemplar}
    assert [bucket.value for bucket in buckets] == [
        sum(seconds <= edge for seconds in (0.42, 0.8, 11.0)) for edge in (*VOICE_TO_VOICE_SEC, 1e9)
    ]
    assert {edge: exemplar.value for edge, exemplar in told.items()} == {"0.5": 0.42, "0.8": 0.8, "+Inf": 11.0}
    assert told["0.8"].labels == {"trace_id": "ab" * 16, "span_id": "cd" * 8}


def test_a_counter_tells_its_last_trace_too() -> None:
    counted = Counted.new()
    counted.instruments.add(TURNS, 1, {"target": "cloud", "outcome": "error"}, carrier=SAMPLED)
    families = read_open_metrics(counted.exposition.scrape(accept=WANTED).text)
    (turns,) = samples(families, "voice_turns_total")
    assert turns.value == 1
    assert turns.exemplar is not None


def test_nothing_counted_is_an_empty_scrape() -> None:
    exposition = Counted.new().exposition
    assert exposition.scrape().text == ""
    assert exposition.scrape(accept=WANTED).text == "# EOF\n"


@pytest.mark.parametrize(("accept", "read"), FORMATS)
def test_scrapes_of_several_programs_are_one(accept: str, read: Read) -> None:
    texts = []
    for worker in ("0", "1"):
        counted = Counted.new()
        counted.instruments.record(VOICE_TO_VOICE, 0.42, HEARD | {"outcome": 'o"k\n# HELP \u2028'}, carrier=SAMPLED)
        counted.instruments.observe(SESSIONS, lambda: [Reading(3)])
        if worker == "1":
            counted.instruments.observe(MEMORY, lambda: [Reading(1e9)])
        texts.append(counted.exposition.scrape(accept=accept, labels={"worker": worker}).text)
    families = list(read(merged(texts)))
    assert values(families, "voice_sessions_active") == {"0": 3, "1": 3}
    assert values(families, "process_memory_usage_bytes") == {"1": 1e9}
    assert values(families, f"{VOICE_TO_VOICE.prometheus_name}_count") == {"0": 1, "1": 1}
    assert len({family.name for family in families}) == len(families)
    assert merged(texts[:1]) == texts[0]


def values(families: Iterable[Family], name: str) -> Mapping[str, float]:
    return {sample.labels["worker"]: sample.value for sample in samples(families, name)}
