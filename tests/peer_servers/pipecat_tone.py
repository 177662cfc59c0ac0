"""Pipecat's SmallWebRTC transport with Silero, answering every turn with a tone.

Everything is at Pipecat's defaults, ``stop_secs`` 0.2 among them. The turn ends when its voice detector says so: the
turn strategies of its aggregators would wait for a transcript, for Smart Turn or for 0.6 s more, and this is about
transport and the hang-over alone. No turn of a user of Pipecat ends earlier than here.
"""

from __future__ import annotations

from typing import Any

from fastapi import BackgroundTasks, FastAPI
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import Frame, OutputAudioRawFrame, VADUserStoppedSpeakingFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.request_handler import SmallWebRTCRequest, SmallWebRTCRequestHandler
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport
from pipecat.workers.runner import WorkerRunner

from tests.peer_servers.answer import SAMPLE_RATE, serve, tone

HANGOVER_SEC = 0.2
OFFERS = "/api/offer"  # as in Pipecat's own runner

app = FastAPI()
calls = SmallWebRTCRequestHandler()


class ToneAnswer(FrameProcessor):
    """Answers when the voice detector has heard enough silence."""

    def __init__(self) -> None:
        super().__init__()
        self._sound = tone().tobytes()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, VADUserStoppedSpeakingFrame):
            await self.push_frame(OutputAudioRawFrame(audio=self._sound, sample_rate=SAMPLE_RATE, num_channels=1))


async def converse(connection: SmallWebRTCConnection) -> None:
    """One call, to its end."""
    transport = SmallWebRTCTransport(connection, TransportParams(audio_in_enabled=True, audio_out_enabled=True))
    detector = VADProcessor(vad_analyzer=SileroVADAnalyzer(params=VADParams(stop_secs=HANGOVER_SEC)))
    worker = PipelineWorker(Pipeline([transport.input(), detector, ToneAnswer(), transport.output()]))

    @transport.event_handler("on_client_disconnected")
    async def gone(transport: SmallWebRTCTransport, client: Any) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


@app.post(OFFERS)
async def offer(request: SmallWebRTCRequest, background: BackgroundTasks) -> Any:
    async def begin(connection: SmallWebRTCConnection) -> None:
        background.add_task(converse, connection)

    return await calls.handle_web_request(request, begin)


if __name__ == "__main__":
    serve(app, path=OFFERS)
