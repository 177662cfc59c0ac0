"""The certificate that an edge shows to those who connect to it."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator


class TlsSettings(BaseModel):
    """Both files in PEM; none of them: plain HTTP, for this machine or behind a proxy that encrypts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate_file: Path | None = None  # with the whole chain
    key_file: Path | None = None

    @model_validator(mode="after")
    def _come_together(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("expected both certificate_file and key_file, got one of them")
        return self
