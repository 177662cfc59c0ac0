"""What can be set of the engine, with its defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployments.engine.sequence import Modality


class SchedulerSettings(BaseModel):
    """When replies join, wait and are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    maximum_running: int = Field(default=16, ge=1, description="replies that share a step")
    maximum_waiting: int = Field(default=8, ge=0, description="turns that wait for a place; further ones are refused")
    maximum_ahead_sec: float = Field(
        default=1.0, gt=0, description="sound made ahead of its playing; then a reply rests"
    )
    first_audio_target_sec: float = Field(default=0.4, gt=0, description="a turn that would wait longer is refused")
    step_budget_share: float = Field(default=0.75, gt=0, le=1, description="how much of real time a step may take")
    first_stretch: float = Field(default=1.25, ge=1, description="how much others may lengthen a step of a new turn")
    prefill_chunk: int = Field(default=256, ge=16, description="positions prefilled at a time")


@dataclass(frozen=True, slots=True)
class Way:
    """How one head chooses."""

    temperature: float
    top_k: int

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0 or self.top_k == 1


class SamplingSettings(BaseModel):
    """How tokens and codes are chosen. A temperature of 0 takes the likeliest; top-k of 0 leaves all in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_temperature: float = Field(default=0.0, ge=0)
    text_top_k: int = Field(default=0, ge=0, le=256)
    audio_temperature: float = Field(default=1.0, ge=0)
    audio_top_k: int = Field(default=4, ge=0, le=256)

    def way(self, modality: Modality) -> Way:
        if modality is Modality.TEXT:
            return Way(self.text_temperature, self.text_top_k)
        return Way(self.audio_temperature, self.audio_top_k)


class EngineSettings(BaseModel):
    """One engine: the model it runs and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str = Field(
        default="LiquidAI/LFM2.5-Audio-1.5B", description="a local folder in the released layout, or a hub id"
    )
    revision: str | None = Field(default=None, description="of the hub id")
    device: str = Field(default="auto", description="cpu, cuda, cuda:1; auto takes a GPU where there is one")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(default="auto", description="auto: bfloat16 on a GPU")
    backbone_weights: Literal["full", "int8"] = "full"
    depthformer_weights: Literal["full", "int8", "int4"] = "full"
    compile: bool = Field(default=False, description="torch.compile: slower to start, faster steps")
    detokenizer: Literal["auto", "lfm", "mimi"] = Field(default="auto", description="auto takes what is in the folder")
    slots: int = Field(default=64, ge=1, description="sessions whose history stays computed")
    slot_positions: int = Field(
        default=4096, ge=128, description="tokens, frames and pieces of speech that a session may hold"
    )
    maximum_reply_sec: float = Field(default=60.0, gt=0, description="a longer reply is ended")
    maximum_speech_sec: float = Field(default=60.0, ge=1, description="a longer turn is refused")
    threads: int = Field(default=0, ge=0, description="of torch on a CPU; 0 leaves it to torch")
    scheduler: SchedulerSettings = SchedulerSettings()
    sampling: SamplingSettings = SamplingSettings()

    @model_validator(mode="after")
    def _check_slots(self) -> Self:
        turns = self.scheduler.maximum_running + self.scheduler.maximum_waiting
        if self.slots < turns:
            raise ValueError(
                f"expected a slot for each of the {turns} turns that may run or wait (scheduler.maximum_running and"
                f" maximum_waiting), got {self.slots} slots"
            )
        return self
