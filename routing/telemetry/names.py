"""The names of spans, attributes and services, once, for every program.

A turn is one trace::

    voice.turn                       the edge, from the first evidence of speech until the reply was heard out or cut
      receive                        how the sound came through while the user spoke: jitter, concealment
      vad.segment                    the speech itself
      network.uplink                 as the caller tells: last sample at the microphone to its arrival
      endpoint.wait                  last sample of speech to the decision, with every signal that led to it
        endpoint.judge               how complete a pause sounded, asked of the model
      route.decide                   what was known, predicted and chosen, and what came of it
      generate_content (device)      one per attempt on this machine: speculations and losers too
        transcribe, judge_text, ...  the phases of the work, by the names of `ReplyEnd.timings_ms`
      infer.request                  one per backend elsewhere; the rest of it is written there
        cloud.connect                or upstream.connect, one per connection
        infer.attempt                one per attempt, as it is seen from here
        ingress.turn                 the door of the cloud
          replica.request            one per replica that was tried; the next one links to the one that failed
            replica.reserve, replica.welcome
            generate_content         one per attempt at the replica
              queue.wait             links to the batch that admitted it
              audio.encode, prefill, decode.first_text, decode.first_audio, stream
      answer.wait                    decision to the first sound of whoever speaks
      floor.wait                     another reply was still being spoken
      codec.first_packet             first sound in the mouth to its packet on the way: TTFA ends here
      network.downlink, jitter_buffer, playout.first_audio       as the caller tells: V2V ends here
      playout                        from the first packet to the last, or to the cut
      interrupt                      the user spoke into it: noticing to silence

    voice.connect                    a session's connection: sdp.negotiate, session.admit, ice.connect, ...
    engine.step_window               a batch, linked with the turns that it admitted

Names after the OpenTelemetry semantic conventions 1.44 (``gen_ai.*`` of 2026, in development) where there are any, and
our own ``voice.*``, ``webrtc.*`` and ``endpoint.*`` where there are none.

**Privacy.** No name, attribute, status or event holds what was said or answered, sound, SDP, candidates, addresses,
keys, or an error text that somebody else wrote. ``CONTENT`` attributes are set only where an operator asked for them.
"""

from __future__ import annotations

from typing import Final

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
NAMESPACE: Final = "antiphon"

# -- services ----------------------------------------------------------------------------------------------------------

CALLER: Final = "antiphon-caller"  # written by the edge, from what the caller's program measured
EDGE: Final = "antiphon-edge"
INGRESS: Final = "antiphon-ingress"
REPLICA: Final = "antiphon-replica"

# -- spans -------------------------------------------------------------------------------------------------------------

TURN: Final = "voice.turn"
RECEIVE: Final = "receive"
VAD_SEGMENT: Final = "vad.segment"
NETWORK_UPLINK: Final = "network.uplink"
ENDPOINT_WAIT: Final = "endpoint.wait"
ENDPOINT_JUDGE: Final = "endpoint.judge"
ROUTE_DECIDE: Final = "route.decide"
GENERATE: Final = "generate_content"  # followed by a space and the model's name
INFER_REQUEST: Final = "infer.request"
INFER_ATTEMPT: Final = "infer.attempt"
CLOUD_CONNECT: Final = "cloud.connect"
UPSTREAM_CONNECT: Final = "upstream.connect"
INGRESS_TURN: Final = "ingress.turn"
REPLICA_REQUEST: Final = "replica.request"
REPLICA_RESERVE: Final = "replica.reserve"  # until there was a place at one
REPLICA_WELCOME: Final = "replica.welcome"  # until it had taken the turn in
QUEUE_WAIT: Final = "queue.wait"
AUDIO_ENCODE: Final = "audio.encode"
PREFILL: Final = "prefill"
FIRST_TEXT: Final = "decode.first_text"
FIRST_AUDIO: Final = "decode.first_audio"
STREAM: Final = "stream"
ANSWER_WAIT: Final = "answer.wait"
FLOOR_WAIT: Final = "floor.wait"
FIRST_PACKET: Final = "codec.first_packet"
NETWORK_DOWNLINK: Final = "network.downlink"
JITTER_BUFFER: Final = "jitter_buffer"
FIRST_PLAYOUT: Final = "playout.first_audio"
PLAYOUT: Final = "playout"
INTERRUPT: Final = "interrupt"

CONNECT: Final = "voice.connect"
SDP_NEGOTIATE: Final = "sdp.negotiate"
SESSION_ADMIT: Final = "session.admit"
ICE_CONNECT: Final = "ice.connect"
DTLS_HANDSHAKE: Final = "dtls.handshake"
FIRST_PACKET_IN: Final = "media.first_rx"

STEP_WINDOW: Final = "engine.step_window"

# The children of a turn that follow each other, without holes, from the user's last sample to the first sound heard.
VOICE_TO_VOICE: Final = (
    NETWORK_UPLINK,
    ENDPOINT_WAIT,
    ANSWER_WAIT,
    FLOOR_WAIT,
    FIRST_PACKET,
    NETWORK_DOWNLINK,
    JITTER_BUFFER,
    FIRST_PLAYOUT,
)

# What a backend calls its phases in `ReplyEnd.timings_ms`, and what their spans are called; others keep their names.
PHASES: Final = {
    "queue": QUEUE_WAIT,
    "encode": AUDIO_ENCODE,
    "prefill": PREFILL,
    "first_text": FIRST_TEXT,
    "first_audio": FIRST_AUDIO,
    "rest": STREAM,
}

# -- attributes --------------------------------------------------------------------------------------------------------
# On every span of a turn:

SESSION_ID: Final = "session.id"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
TURN_ID: Final = "voice.turn.id"
TURN_INDEX: Final = "voice.turn.index"

# Of the turn; those that end in `_ms` are whole numbers, which the collector's samplers can compare.

OUTCOME: Final = "voice.turn.outcome"  # ok | interrupted | fallback | abandoned | dropped | error
V2V_MS: Final = "voice.turn.first_audio_latency_ms"
V2V_MEASURED: Final = "voice.turn.first_audio_latency_measured"  # caller | edge: whose clock and ears
TTFA_MS: Final = "voice.turn.ttfa_ms"
ENDPOINT_WAIT_MS: Final = "voice.turn.endpoint_wait_ms"
SPEECH_SEC: Final = "voice.speech.duration"

ROUTE_TARGET: Final = "voice.route.target"
ROUTE_REASON: Final = "voice.route.reason"
ROUTE_POLICY: Final = "voice.route.policy"
ROUTE_PATIENCE_MS: Final = "voice.route.patience_ms"
ROUTE_REGRET_MS: Final = "voice.route.regret_ms"
ROUTE_ESTIMATE: Final = "voice.route.estimate."  # followed by the backend's name and _ms
ROUTE_WHY_NOT: Final = "voice.route.why_not."  # followed by the backend's name
ROUTE_RTT: Final = "voice.route.rtt."  # followed by the backend's name and _ms
ROUTE_WASTE: Final = "voice.route.waste."  # followed by the backend's name and _ms
ROUTE_ARRIVAL: Final = "voice.route.arrival."  # likewise: from the turn's end to its first sound
ROUTE_QUEUE_WAIT: Final = "voice.route.queue_wait."  # likewise
ROUTE_READY: Final = "voice.route.ready."  # followed by the backend's name: its first sound was here at the decision
ROUTE_FAILURE: Final = "voice.route.failure."  # followed by the backend's name: how likely no answer comes
ROUTE_QUESTION: Final = "voice.route.question"  # private | tools | script | knowledge | long answer
ROUTE_FIRST: Final = "voice.route.first"
ROUTE_SECOND: Final = "voice.route.second"
ROUTE_WORDS_WAIT_MS: Final = "voice.route.words_wait_ms"
ROUTE_ENDED: Final = "voice.route.ended"  # told | cut | failed | dropped
ROUTE_FIRST_SOUND_MS: Final = "voice.route.first_sound_ms"
ROUTE_OPENED: Final = "voice.route.opened"
ROUTE_SWITCHES: Final = "voice.route.switches"
DEVICE_LOAD: Final = "voice.device.load"
DEVICE_BATTERY: Final = "voice.device.battery"

ENDPOINT_REASON: Final = "endpoint.reason"
ENDPOINT_PAUSES: Final = "endpoint.pauses"
ENDPOINT_RESUMES: Final = "endpoint.resumes"
ENDPOINT_SOUND_SCORE: Final = "endpoint.score.sound"
ENDPOINT_TEXT_SCORE: Final = "endpoint.score.text"

ATTEMPT: Final = "voice.attempt"  # the number of the reply asked of one exchange, from 1
ATTEMPT_OUTCOME: Final = "voice.attempt.outcome"  # told | rolled_back | cancelled | failed | refused
ATTEMPT_SPECULATIVE: Final = "voice.attempt.speculative"  # whether it was asked before the turn was over
FIRST_SOUND_MS: Final = "voice.attempt.first_sound_ms"
CONTINUES: Final = "voice.route.continues"  # the backend for which it goes on; its span is linked
RPC_SYSTEM: Final = "rpc.system.name"
ERROR_TYPE: Final = "error.type"
REPLICA_ID: Final = "voice.replica.id"
REPLICAS_TRIED: Final = "voice.replica.tried"  # how many, for one turn
RETRY_REASON: Final = "voice.retry.reason"  # why the one before it, which it links to, did not do
SPEECH_BYTES: Final = "voice.speech.bytes"
QUEUE_WAIT_MS: Final = "voice.queue.wait_ms"
SLOTS_IN_USE: Final = "voice.slots.in_use"
SLOTS: Final = "voice.slots"
QUEUE_DEPTH: Final = "voice.queue.depth_at_enqueue"
BATCH_SIZE: Final = "voice.batch.size"
BATCH_ADMITTED: Final = "voice.batch.admitted"  # turns whose waiting it ended
BATCH_PREFILL_TOKENS: Final = "voice.batch.prefill_tokens"
BATCH_MESSAGES: Final = "messaging.batch.message_count"  # never for a batch of one
STEP_MS: Final = "voice.step.duration_ms"

JITTER_DELAY_MS: Final = "webrtc.jitter_buffer.delay_ms"
CONCEALED_MS: Final = "webrtc.concealed_ms"
PACKETS_LOST: Final = "webrtc.packets_lost"
ROUND_TRIP_MS: Final = "webrtc.rtt_ms"
OUTPUT_MS: Final = "webrtc.output_ms"
CLOCK_OFFSET_MS: Final = "voice.clock.offset_ms"
CLOCK_UNCERTAINTY_MS: Final = "voice.clock.uncertainty_ms"
SELECTED_PAIR: Final = "webrtc.ice.selected_pair_type"  # host | srflx | prflx | relay
INTERRUPT_STOP_MS: Final = "voice.interrupt.stop_ms"

GENAI_OPERATION: Final = "gen_ai.operation.name"
GENAI_PROVIDER: Final = "gen_ai.provider.name"
GENAI_MODEL: Final = "gen_ai.request.model"
GENAI_OUTPUT_TYPE: Final = "gen_ai.output.type"
GENAI_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GENAI_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GENAI_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"  # seconds
LATENCY_QUEUE: Final = "gen_ai.latency.time_in_queue"  # these in seconds too, as other servers of models call them
LATENCY_FIRST_TOKEN: Final = "gen_ai.latency.time_to_first_token"
LATENCY_PREFILL: Final = "gen_ai.latency.time_in_model_prefill"
LATENCY_DECODE: Final = "gen_ai.latency.time_in_model_decode"
LATENCY_TOTAL: Final = "gen_ai.latency.e2e"

CONTENT_INPUT: Final = "gen_ai.input.messages"  # CONTENT: only where an operator asked for it
CONTENT_OUTPUT: Final = "gen_ai.output.messages"  # CONTENT
