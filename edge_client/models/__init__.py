"""The small models of the device, each a plain synchronous object, and the threads they run on."""

import os

# onnxruntime would keep an identity of this machine under the home folder and report its use to its maker. It looks
# at this variable when it is first imported, and only modules of this package import it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
