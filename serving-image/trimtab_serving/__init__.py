"""Trimtab's model server: fetches a bundle by digest, serves it over the Open Inference Protocol.

It shares no code with the operator; the two meet in docs/contract.md only.
"""

import os

__version__ = "0.1.0"

# Official builds of ONNX Runtime report every process and model to their maker and leave a device id below HOME.
# The library looks at this when it is loaded, so it has to be said before anything can import it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
