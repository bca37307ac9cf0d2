"""How many random examples and kills the slow tests try."""

import os

MANY_EXAMPLES = int(os.environ.get("KINESTORE_FUZZ_EXAMPLES", "300"))
"""Damaged inputs of each kind: 300 in CI, for its time; `make fuzz` tries 10,000."""

NUM_KILLS = int(os.environ.get("KINESTORE_KILLS", "3"))
"""Kills of each command: 3 in CI, for its time; `make kills` has 10."""
