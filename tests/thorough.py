"""Whether tests that sample what they try, by fixed seeds, try all of it: with TRIMTAB_THOROUGH=1."""

from __future__ import annotations

import os

THOROUGH = os.environ.get("TRIMTAB_THOROUGH") == "1"
