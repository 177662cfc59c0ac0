"""How well people are understood when packets are lost: our receive path beside aiortc's own, on the same packets.

Run ``python -m tests.bench_loss``; it needs the model files, fetches recordings of people on its first run, and takes
some minutes. Recordings are encoded as a caller's telephone would (Opus, mono, FEC), sent through a lossy link on a
virtual clock, received, and written down by the device's speech recognition. The word error rate without loss is the
measure: what the codec, the recogniser and the readers do wrong is in all three rows. A packet that carries a copy of
what came before it decides much: how many do is printed too.

Each seed loses other packets and cuts the sound into frames at other places, so words that hang by a thread do not
decide the figure alone. The target is a word error rate of at most 1.3 times the clean one at 5 % loss in bursts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, cast

import av
import jiwer
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.codecs.opus import OpusDecoder as StockDecoder
from aiortc.jitterbuffer import JitterBuffer as StockJitterBuffer
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket
from rich.console import Console
from rich.table import Table

from edge_client.audio import resample
from edge_client.models.moonshine import Moonshine
from edge_client.models.store import ModelStore, default_folder
from edge_client.network.link import Link
from edge_client.network.profile import NetworkProfile
from edge_client.webrtc.libopus import _LIBRARY, OpusEncoder
from edge_client.webrtc.opus import BIT_RATE, COMPLEXITY, LEAST_LOSS_PERCENT
from edge_client.webrtc.receiver import Receiver, ReceiverStatistics
from routing.turns import REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE, Samples
from tests.speech import command_clips, librivox_clips, read_wav, words
from tests.virtual_time import VirtualTimeLoop

FRAME_SEC = 0.020
RTP_RATE = 48_000
PAYLOAD_TYPE = 111
HEADERS = 12 + 10 + 28  # bytes: RTP, SRTP's tag, UDP over IPv4
LARGEST_SILENCE = 10  # bytes of Opus
LEAD_IN_SEC, LEAD_OUT_SEC = 0.3, 0.6  # of silence; the second brings what a buffer holds back
STOCK_CAPACITY, STOCK_PREFETCH = 16, 4  # as aiortc makes its buffer for sound

# "A Tale of Two Cities", as it is read in the recording of the demo; each line is one turn.
TWO_CITIES = (
    (0.8, 4.6, "it was the best of times it was the worst of times"),
    (4.6, 8.29, "it was the age of wisdom it was the age of foolishness"),
    (8.29, 13.07, "it was the epoch of belief it was the epoch of incredulity"),
    (13.07, 16.88, "it was a season of light it was a season of darkness"),
    (16.88, 20.82, "it was the spring of hope it was the winter of despair"),
    (20.82, 24.2, "we had everything before us we had nothing before us"),
    (24.2, 28.58, "we were all going direct to heaven we were all going direct the other way"),
    (28.58, 34.7, "in short the period was so far like the present period that some of its noisiest authorities"),
    (34.7, 38.51, "insisted on its being received for good or for evil"),
    (38.51, 42.6, "in the superlative degree of comparison only"),
)


class Turn(NamedTuple):
    """What somebody said, at 16 kHz, and its words."""

    samples: Samples
    text: str


class Sent(NamedTuple):
    """A packet that arrives."""

    due: float
    packet: RtpPacket


class Sender(NamedTuple):
    """Whose encoder it is."""

    sample_rate: int
    complexity: int


SENDERS = {"ours": Sender(REPLY_SAMPLE_RATE, COMPLEXITY), "browser": Sender(48_000, 9)}  # Chromium's, on a computer


@dataclass(frozen=True, slots=True)
class Conditions:
    """How the sound is sent, and what is lost of it."""

    sender: Sender
    bit_rate: int
    expected_loss_percent: int
    network: NetworkProfile


type Receive = Callable[[Sequence[Sent]], Samples]


# -- what is said ----------------------------------------------------------------------------------------------------


def turns(store: ModelStore) -> list[Turn]:
    recordings = [Turn(clip.samples, clip.text) for clip in librivox_clips() + command_clips()]
    return recordings + list(two_cities(store))


def two_cities(store: ModelStore) -> Iterator[Turn]:
    samples, sample_rate = read_wav(store.path("human_speech"))
    samples = resample(samples, sample_rate, SPEECH_SAMPLE_RATE)
    for begin, end, text in TWO_CITIES:
        yield Turn(samples[int(begin * SPEECH_SAMPLE_RATE) : int(end * SPEECH_SAMPLE_RATE)], text)


# -- how it is sent --------------------------------------------------------------------------------------------------


def encoded(turn: Turn, conditions: Conditions, *, seed: int) -> list[RtpPacket]:
    """The turn between two silences; ``seed`` shifts it within its frames."""
    rate = conditions.sender.sample_rate
    encoder = OpusEncoder(
        rate,
        bit_rate=conditions.bit_rate,
        complexity=conditions.sender.complexity,
        packet_loss_percent=conditions.expected_loss_percent,
    )
    frame_samples = round(FRAME_SEC * rate)
    shift = seed * 53 % frame_samples
    sound = resample(turn.samples, SPEECH_SAMPLE_RATE, rate)
    sound = np.pad(sound, (round(LEAD_IN_SEC * rate) + shift, round(LEAD_OUT_SEC * rate))).clip(-1.0, 1.0)
    frames = np.split(sound[: len(sound) // frame_samples * frame_samples], len(sound) // frame_samples)
    return [rtp(number, encoder.encode(frame)) for number, frame in enumerate(frames)]


def share_with_copy(packets: Iterable[RtpPacket]) -> float:
    """How many of the packets that are more than silence carry a copy of the frame before them."""
    voiced = [packet.payload for packet in packets if len(packet.payload) > LARGEST_SILENCE]
    copies = sum(int(_LIBRARY.opus_packet_has_lbrr(payload, len(payload))) for payload in voiced)
    return copies / len(voiced)


def rtp(number: int, payload: bytes) -> RtpPacket:
    packet = RtpPacket(
        payload_type=PAYLOAD_TYPE,
        sequence_number=number & 0xFFFF,
        timestamp=round(number * FRAME_SEC * RTP_RATE),
        ssrc=1,
        payload=payload,
    )
    packet._data = payload  # type: ignore[attr-defined]
    return packet


def sent(packets: Iterable[RtpPacket], network: NetworkProfile, *, seed: int) -> list[Sent]:
    """Those that arrive, in the order in which they do."""
    link = Link(network, seed=seed)
    dues = [
        (link.send(len(packet.payload) + HEADERS, number * FRAME_SEC), packet) for number, packet in enumerate(packets)
    ]
    return sorted((Sent(due, packet) for due, packet in dues if due is not None), key=lambda arrival: arrival.due)


# -- how it is received ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Ours:
    """The edge's own receiver, with its timers, on a virtual clock."""

    statistics: list[ReceiverStatistics] = field(default_factory=list)

    def __call__(self, arrivals: Sequence[Sent]) -> Samples:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            return runner.run(self._receive(arrivals))

    async def _receive(self, arrivals: Sequence[Sent]) -> Samples:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        blocks: list[Samples] = []
        receiver = Receiver(connection.addTransceiver("audio").receiver, blocks.append)
        receiver._codecs[PAYLOAD_TYPE] = RTCRtpCodecParameters(mimeType="audio/opus", clockRate=RTP_RATE, channels=2)
        for arrival in arrivals:
            await asyncio.sleep(arrival.due - asyncio.get_running_loop().time())
            await receiver._take(arrival.packet, 0)
        await asyncio.sleep(1.0)
        self.statistics.append(receiver.statistics())
        await receiver.closed()
        await connection.close()
        return np.concatenate(blocks)


def stock(arrivals: Sequence[Sent]) -> Samples:
    """What aiortc hands to an application: frames that never came are missing, and what follows moves up."""
    buffer = StockJitterBuffer(capacity=STOCK_CAPACITY, prefetch=STOCK_PREFETCH)
    decoder = StockDecoder()
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SPEECH_SAMPLE_RATE)
    blocks: list[Samples] = []
    for arrival in arrivals:
        _, encoded_frame = buffer.add(arrival.packet)
        for frame in decoder.decode(encoded_frame) if encoded_frame else ():
            blocks += [part.to_ndarray()[0] for part in resampler.resample(cast("av.AudioFrame", frame))]
    return np.concatenate(blocks)


# -- how it is understood --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Score:
    """The errors of one receive path, seed by seed, in words."""

    name: str
    errors: list[int] = field(default_factory=list)
    words: int = 0  # of one seed

    def add(self, said: Sequence[str], heard: Sequence[str]) -> None:
        output = jiwer.process_words(list(said), list(heard))
        self.errors.append(output.substitutions + output.deletions + output.insertions)
        self.words = output.hits + output.substitutions + output.deletions

    @property
    def rate(self) -> float:
        return statistics.fmean(self.errors) / self.words

    def row(self, clean: Score) -> list[str]:
        rates = np.array(self.errors) / self.words
        return [
            self.name,
            f"{self.rate:.2%}",
            f"{self.rate / clean.rate:.2f}",
            f"{rates.min():.2%} to {rates.max():.2%}",
            f"{interval(self, clean)}",
            f"{sum(self.errors)} of {self.words * len(self.errors)}",
        ]


def interval(score: Score, clean: Score) -> str:
    """Where 95 of 100 ratios lie when the seeds are drawn again."""
    draws = np.random.default_rng(0).integers(len(score.errors), size=(2000, len(score.errors)))
    ratios = np.array(score.errors)[draws].sum(axis=1) / np.maximum(np.array(clean.errors)[draws].sum(axis=1), 1)
    return "{:.2f} to {:.2f}".format(*np.percentile(ratios, (2.5, 97.5)))


@dataclass(slots=True)
class Bench:
    """All turns through each receive path, seed by seed."""

    moonshine: Moonshine
    turns: Sequence[Turn]
    conditions: Conditions
    verbose: Callable[[str], None]

    def run(self, seeds: Iterable[int], paths: dict[str, tuple[Receive, bool]]) -> dict[str, Score]:
        scores = {name: Score(name) for name in paths}
        for seed in seeds:
            packets = [encoded(turn, self.conditions, seed=seed) for turn in self.turns]
            for name, (receive, is_lossy) in paths.items():
                heard = [self._hear(each, receive, is_lossy, 1000 * seed + index) for index, each in enumerate(packets)]
                scores[name].add([turn.text for turn in self.turns], heard)
                self._tell(name, heard)
        return scores

    def _hear(self, packets: Sequence[RtpPacket], receive: Receive, is_lossy: bool, seed: int) -> str:
        network = self.conditions.network if is_lossy else NetworkProfile(name="clean")
        return words(self.moonshine.transcribe(receive(sent(packets, network, seed=seed))).text)

    def _tell(self, name: str, heard: Sequence[str]) -> None:
        for turn, text in zip(self.turns, heard, strict=True):
            if text != turn.text:
                self.verbose(f"{name}: {turn.text!r} -> {text!r}")


def report(scores: dict[str, Score], conditions: Conditions, console: Console) -> None:
    network = conditions.network
    title = (
        f"{network.loss:.0%} loss, {network.burst} to stay; {conditions.bit_rate / 1000:.0f} kbit/s at"
        f" {conditions.sender.sample_rate / 1000:.0f} kHz, ready for {conditions.expected_loss_percent} %"
    )
    table = Table("path", "WER", "x clean", "over seeds", "95 % of ratios", "errors", title=title)
    for score in scores.values():
        table.add_row(*score.row(scores["clean"]))
    console.print(table)


def main() -> None:
    options = arguments()
    store = ModelStore(default_folder(os.environ))
    network = NetworkProfile(
        name="lossy", delay_ms=options.jitter_ms, jitter_ms=options.jitter_ms, loss=options.loss, burst=options.burst
    )
    conditions = Conditions(SENDERS[options.sender], options.bit_rate, options.expected_loss_percent, network)
    console, ours = Console(), Ours()
    bench = Bench(
        Moonshine(store.path("speech_encoder").parent),
        turns(store),
        conditions,
        console.print if options.verbose else lambda _: None,
    )
    paths: dict[str, tuple[Receive, bool]] = {"clean": (Ours(), False), "ours": (ours, True), "stock": (stock, True)}
    report(bench.run(range(options.seeds), paths), conditions, console)
    console.print(losses(ours.statistics))
    packets = [packet for turn in bench.turns for packet in encoded(turn, conditions, seed=0)]
    console.print(f"a copy in {share_with_copy(packets):.0%} of the packets; {conditions_of_this_machine()}")


def losses(statistics: Sequence[ReceiverStatistics]) -> str:
    heard = sum(each.heard for each in statistics)
    shares = (
        (name, sum(getattr(each.jitter, name) for each in statistics)) for name in ("recovered", "concealed", "silent")
    )
    return "ours: " + ", ".join(f"{name} {count / heard:.2%}" for name, count in shares)


def conditions_of_this_machine() -> str:
    return f"load average {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m tests.bench_loss"
    )
    add: Any = partial(parser.add_argument)
    add("--seeds", type=int, default=20, help="how often all is said (default: %(default)s)")
    add("--loss", type=float, default=0.05, help="part of the packets that are lost (default: %(default)s)")
    add("--burst", type=float, default=0.4, help="how likely the one after a lost one is lost (default: %(default)s)")
    add("--jitter-ms", type=float, default=0.0, help="and the mean delay is as long (default: %(default)s)")
    add("--sender", choices=SENDERS, default="ours", help="whose encoder (default: %(default)s)")
    add("--bit-rate", type=int, default=BIT_RATE, help="default: %(default)s")
    add(
        "--expected-loss-percent",
        type=int,
        default=LEAST_LOSS_PERCENT,
        help="what the encoder prepares for (default: %(default)s)",
    )
    add("--verbose", action="store_true", help="print every turn that was heard wrong")
    return parser.parse_args()


if __name__ == "__main__":
    main()
