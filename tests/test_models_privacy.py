"""What a person says to the device, and that they do, is nobody else's business."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_model_runtimes_keep_no_record_of_their_use(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / ".cache"), "PATH": os.environ["PATH"]}
    load = "import edge_client.models.hibari, edge_client.models.onnx as onnx; print(onnx.onnxruntime.__version__)"
    loaded = subprocess.run([sys.executable, "-c", load], env=home, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
