"""FastRTC's `ReplyOnPause` at its defaults, answering every turn with a tone.

FastRTC has no hang-over that could be set: it judges chunks of 0.6 s, and answers after the first one with less than
0.1 s of speech. Its voice detector is the Silero graph of a hub; the same generation of it lies in the wheel of
faster-whisper 1.0.2 and is read from there, by FastRTC's own class.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastrtc import ReplyOnPause, Stream
from fastrtc.pause_detection.silero import SileroVADModel
from numpy.typing import NDArray

from tests.peer_servers.answer import SAMPLE_RATE, serve, tone

type Heard = tuple[int, NDArray[np.int16]]


def silero() -> str:
    """Where the graph is, without importing the package around it."""
    package = find_spec("faster_whisper")
    assert package is not None, "expected faster-whisper==1.0.2 in this environment"
    assert package.origin is not None
    return str(Path(package.origin).with_name("assets") / "silero_vad.onnx")


def answer(heard: Any) -> Iterator[Heard]:
    yield SAMPLE_RATE, tone().reshape(1, -1)


def main() -> None:
    SileroVADModel.download_model = staticmethod(silero)
    app = FastAPI()
    stream = Stream(
        ReplyOnPause(answer),
        modality="audio",
        mode="send-receive",
        server_rtc_configuration={"iceServers": []},  # its default is a public server, which a call would wait for
    )
    stream.mount(app)
    serve(app, path="/webrtc/offer")


if __name__ == "__main__":
    main()
