"""Development tools of this repository: local cluster, images, generators, demo. Nothing here is shipped.

The operator and the images are packages of their own, which a checkout does not install: their
sources are put on the path here, so that `python -m hack.NAME` runs without a prepared environment.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

for source in ("serving-image", "operator"):
    if str(ROOT / source) not in sys.path:
        sys.path.insert(0, str(ROOT / source))
