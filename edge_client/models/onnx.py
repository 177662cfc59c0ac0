"""How every ONNX graph is opened: one thread, no spinning, quiet."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from routing.errors import ModelError

ERRORS_ONLY = 3


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Load a graph. A second thread would make these small ones slower, and a spinning one would starve others.

    Raises:
        ModelError: the runtime cannot load the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has no base class for its errors
        raise ModelError(f"cannot load {path}: {error}") from error
