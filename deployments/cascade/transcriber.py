"""Speech written down so that the same sound is always the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_client.device.calls import call
from routing.turns import Samples

if TYPE_CHECKING:
    from edge_client.models.library import Hosted
    from edge_client.models.moonshine import Moonshine, Transcription


class RepeatableTranscriber:
    """See `edge_client.device.listener.Transcriber`. The words depend on nothing but the sound.

    A turn that goes on at another replica, which was given the sound in another rhythm, must go on with the same
    words. So there are neither drafts nor batches: the graphs round numbers over all that is in one run, and both
    change what is written. Of 72 recordings, 7 that end within a sentence came out otherwise with a draft. In a batch
    the encoder's numbers move by up to 0.6, at equal lengths as well as padded, and a row costs as much as alone (3 s
    of speech: 11.0 ms in a batch of eight, 12.0 ms alone).
    """

    def __init__(self, speech_to_text: Hosted[Moonshine]) -> None:
        self._speech_to_text = speech_to_text

    async def transcribe(self, samples: Samples, draft: tuple[int, ...]) -> Transcription:  # noqa: ARG002
        """Raises BackendError where the model failed."""
        return await call(self._speech_to_text, lambda model: model.transcribe(samples))
