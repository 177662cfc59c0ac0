"""One caller's side of the protocol: client events become calls on the session, session events become server events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from edge_client.conversation import Conversation
from edge_client.endpointer import EndpointerSettings
from edge_client.realtime import server_events as wire
from edge_client.realtime.client_events import (
    AppendAudio,
    CancelResponse,
    ClearAudio,
    ClearOutput,
    ClientEvent,
    CommitAudio,
    CreateItem,
    CreateResponse,
    DeleteItem,
    PingClock,
    ReportTurn,
    ResponseOptions,
    RestoreSession,
    RetrieveItem,
    SessionUpdate,
    TruncateItem,
    read_envelope,
    read_event,
)
from edge_client.realtime.client_items import read_base64, read_item, recording
from edge_client.realtime.client_reports import read_report
from edge_client.realtime.formats import IncomingSound, OutgoingSound
from edge_client.realtime.session_config import Json, SessionConfig, function_tools, modality, tool_choice
from edge_client.session import Session
from edge_client.session_events import (
    ItemTruncated,
    PlayoutCleared,
    PlayoutEvent,
    PlayoutStarted,
    PlayoutStopped,
    ReplyAudio,
    ReplyDone,
    ReplyItemDone,
    ReplyItemStarted,
    ReplyStarted,
    ReplyText,
    ReplyToolCall,
    SessionEvent,
    SpeakingEvent,
    TurnTraced,
    UserCommitted,
    UserEvent,
    UserHeard,
    UserStarted,
    UserStopped,
)
from routing.errors import InvalidRequest
from routing.turns import REPLY_SAMPLE_RATE, Privacy

type Sound = Literal["events", "rtp"]  # how audio travels: inside events (WebSocket), or beside them (WebRTC)


class Dialogue:
    """Speaks for one session. Made first, because the session's events come here; `start` gives it the session.

    ``send`` takes each server event as a JSON object; it must not wait. ``now_ms`` is milliseconds since 1970, by the
    clock that the session's spans are told by. ``on_asked`` is called when the client asks for something by itself:
    neither sends sound, nor measures.
    """

    def __init__(
        self,
        *,
        send: Callable[[Json], None],
        sound: Sound,
        config: SessionConfig,
        turn_taking: EndpointerSettings,
        now_ms: Callable[[], float],
        privacy: Privacy = "any",
        on_asked: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self._on_asked = on_asked
        self._send = send
        self._sound = sound
        self._turn_taking = turn_taking
        self._now_ms = now_ms
        self._privacy = privacy  # the least that holds for every turn
        self._session: Session | None = None
        self._told = ""  # of the words of the turn that is being heard
        self._incoming = IncomingSound(config.audio.input.format)
        self._outgoing = OutgoingSound(config.audio.output.format)

    def start(self, session: Session) -> None:
        self._session = session

    def greet(self) -> None:
        """Tell the caller that the session is there."""
        self._send(wire.event("session.created", session=self._shown_config()))

    @property
    def session(self) -> Session:
        assert self._session, "Dialogue.start was not called"
        return self._session

    @property
    def _conversation(self) -> Conversation:
        return self.session.conversation

    def _shown_config(self) -> Json:
        ours = {"id": self.session.id} if self._session else {}
        return self.config.wire() | ours

    def _tell(self, type_: str, **fields: Any) -> None:
        self._send(wire.event(type_, **fields))

    def _tell_all(self, events: Iterable[Json]) -> None:
        for event in events:
            self._send(event)

    # -- from the client ---------------------------------------------------------------------------------------------

    def receive(self, text: str) -> bool:
        """Act on one message. Whatever is wrong with it is answered with an ``error`` event; nothing is raised.

        Returns whether it was sound.
        """
        envelope: Json = {}
        event: ClientEvent | None = None
        try:
            envelope = read_envelope(text)
            event = read_event(envelope)
            if event.carrier:
                self.session.join_trace(event.carrier)
            self._act(event)
            if not isinstance(event, AppendAudio | PingClock | ReportTurn):
                self._on_asked()
        except InvalidRequest as fault:
            self._refuse(fault, envelope)
        return isinstance(event, AppendAudio)

    def refuse(self, fault: InvalidRequest, event_id: str | None = None) -> None:
        """Answer a message that could not even be read, or was not for this session."""
        self._refuse(fault, {"event_id": event_id})

    def _refuse(self, fault: InvalidRequest, envelope: Json) -> None:
        event_id = envelope.get("event_id")
        known = event_id if isinstance(event_id, str) else None
        self._send(wire.error_event(fault, client_event_id=known))

    def _act(self, event: ClientEvent) -> None:
        match event:
            case SessionUpdate(session=changes):
                self._update(changes)
            case AppendAudio(audio=audio):
                self._append(audio)
            case CommitAudio():
                self.session.commit_audio()
            case ClearAudio():
                self.session.clear_audio()
                self._tell("input_audio_buffer.cleared")
            case CreateItem() | RetrieveItem() | TruncateItem() | DeleteItem():
                self._edit(event)
            case CreateResponse(response=options):
                self.config.updated(_session_settings(options))  # refused where they are locked
                self.session.create_reply(**_turn_changes(options))
            case CancelResponse():
                self.session.cancel_reply()
            case ClearOutput():
                self.session.silence()
            case PingClock(client_ms=client_ms):
                self._send(wire.clock_pong(client_ms, self._now_ms()))
                self.session.expect_reports()  # nobody else wants to know the time
            case ReportTurn():
                self.session.take_report(read_report(event, now_ms=self._now_ms()))
            case RestoreSession():
                raise InvalidRequest("expected a ticket first of all on a WebSocket, got one here", param="type")

    def _edit(self, event: CreateItem | RetrieveItem | TruncateItem | DeleteItem) -> None:
        match event:
            case CreateItem():
                self._create_item(event)
            case RetrieveItem(item_id=item_id):
                self._tell("conversation.item.retrieved", item=wire.wire_item(self._conversation.find(item_id)))
            case TruncateItem(item_id=item_id, audio_end_ms=audio_end_ms):
                self._truncate(item_id, audio_end_ms)
            case DeleteItem(item_id=item_id):
                self._conversation.delete(item_id)
                self._tell("conversation.item.deleted", item_id=item_id)

    def _update(self, changes: Json) -> None:
        self.config = self.config.updated(changes)
        self._follow_formats()
        self.session.configure(self.config.options(self._turn_taking, self._privacy))
        self._tell("session.updated", session=self._shown_config())

    def _follow_formats(self) -> None:
        sound = self.config.audio
        if sound.input.format != self._incoming.format:
            self._incoming = IncomingSound(sound.input.format)
        if sound.output.format != self._outgoing.format:
            self._outgoing = OutgoingSound(sound.output.format)

    def _append(self, audio: str) -> None:
        if self._sound == "rtp":
            raise InvalidRequest("expected audio over the call's microphone track, got an event", param="type")
        self.session.hear(self._incoming.read(read_base64(audio, "audio")))

    def _create_item(self, event: CreateItem) -> None:
        sound = recording(event.item)
        if sound is None:
            self._add_item(event)
        else:
            incoming = IncomingSound(self._incoming.format)
            self.session.take_recording(incoming.read(sound), item_id=event.item.id)

    def _add_item(self, event: CreateItem) -> None:
        item = read_item(event.item)
        item.privacy = self.session.options.privacy
        self._conversation.add(item, after=event.previous_item_id)
        previous = self._conversation.previous_id(item.id)
        self._send(wire.item_added(item, previous))
        self._send(wire.item_done(item, previous))

    def _truncate(self, item_id: str, audio_end_ms: int) -> None:
        self._conversation.truncate(item_id, audio_end_ms * REPLY_SAMPLE_RATE // 1000)
        self._tell_truncated(item_id, audio_end_ms)

    # -- from the session --------------------------------------------------------------------------------------------

    def emit(self, event: SessionEvent) -> None:
        """Tell the client what happened."""
        match event:
            case UserStarted() | UserStopped() | UserCommitted() | UserHeard():
                self._tell_user(event)
            case PlayoutStarted() | PlayoutStopped() | PlayoutCleared() | ItemTruncated():
                if self._sound == "rtp":  # a client that plays by itself knows better, and tells us
                    self._tell_playout(event)
            case TurnTraced():
                self._send(wire.turn_traced(event))
            case _:
                self._tell_reply(event)

    def _tell_user(self, event: UserEvent) -> None:
        match event:
            case UserStarted(item_id=item_id, at_ms=at_ms):
                self._told = ""
                self._tell("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=at_ms)
            case UserStopped(item_id=item_id, at_ms=at_ms):
                self._tell("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=at_ms)
            case UserCommitted(item=item, previous_item_id=previous):
                self._tell("input_audio_buffer.committed", item_id=item.id, previous_item_id=previous)
                self._send(wire.item_added(item, previous))
                self._send(wire.item_done(item, previous))
            case UserHeard():
                self._tell_heard(event)

    def _tell_reply(self, event: SpeakingEvent) -> None:
        match event:
            case ReplyStarted(reply_id=reply_id):
                self._tell("response.created", response=wire.response(reply_id, "in_progress"))
            case ReplyItemStarted(item=item):
                self._tell_all(wire.item_started(event, self._conversation.previous_id(item.id)))
            case ReplyText():
                self._send(wire.text_delta(event))
            case ReplyAudio():
                self._tell_audio(event)
            case ReplyItemDone(item=item):
                self._tell_last_audio(event)
                self._tell_all(wire.item_finished(event, self._conversation.previous_id(item.id)))
            case ReplyToolCall():
                self._tell_all(wire.tool_called(event))
            case ReplyDone():
                self._send(wire.response_done(event))

    def _tell_playout(self, event: PlayoutEvent) -> None:
        match event:
            case PlayoutStarted(reply_id=reply_id):
                self._tell("output_audio_buffer.started", response_id=reply_id)
            case PlayoutStopped(reply_id=reply_id):
                self._tell("output_audio_buffer.stopped", response_id=reply_id)
            case PlayoutCleared(reply_id=reply_id):
                self._tell("output_audio_buffer.cleared", response_id=reply_id)
            case ItemTruncated(item_id=item_id, audio_end_ms=end_ms):
                self._tell_truncated(item_id, end_ms)

    def _tell_heard(self, heard: UserHeard) -> None:
        if self.config.audio.input.transcription is None:
            return
        kind = "conversation.item.input_audio_transcription"
        if heard.is_final:
            usage = {"type": "duration", "seconds": round(heard.duration_sec, 3)}
            self._tell(
                f"{kind}.completed",
                item_id=heard.item_id,
                content_index=0,
                transcript=heard.text,
                usage=usage,
            )
            return
        stable = _stable_part(heard.text)
        if stable.startswith(self._told) and stable != self._told:
            delta = stable[len(self._told) :]
            self._tell(f"{kind}.delta", item_id=heard.item_id, content_index=0, delta=delta)
            self._told = stable

    def _tell_audio(self, audio: ReplyAudio) -> None:
        if self._sound == "events":
            self._send_audio(audio, self._outgoing.write(audio.samples))

    def _tell_last_audio(self, done: ReplyItemDone) -> None:
        """What the resampler still holds belongs to this reply."""
        if self._sound == "events" and (rest := self._outgoing.finish()):
            self._send_audio(done, rest)

    def _send_audio(self, part: ReplyAudio | ReplyItemDone, sound: bytes) -> None:
        self._send(wire.audio_delta(wire.place(part.reply_id, part.item, part.index), sound))

    def _tell_truncated(self, item_id: str, end_ms: int) -> None:
        self._tell("conversation.item.truncated", item_id=item_id, content_index=0, audio_end_ms=end_ms)


def _stable_part(text: str) -> str:
    """A partial transcript without its last word, which the next one often changes."""
    return " ".join(text.split()[:-1]).rstrip(".,;:?!")


def _session_settings(options: ResponseOptions | None) -> Json:
    """What a reply may have different and a session has too."""
    shared = {"instructions", "output_modalities", "tools", "tool_choice"}
    return options.model_dump(mode="json", include=shared, exclude_none=True) if options else {}


def _turn_changes(options: ResponseOptions | None) -> Json:
    if options is None:
        return {}
    changes: Json = {
        "instructions": options.instructions,
        "modality": options.output_modalities and modality(options.output_modalities),
        "tools": None if options.tools is None else function_tools(options.tools),
        "tool_choice": options.tool_choice and tool_choice(options.tool_choice),
        "privacy": None if options.antiphon.privacy == "any" else options.antiphon.privacy,  # never less than before
    }
    return {name: value for name, value in changes.items() if value is not None}
