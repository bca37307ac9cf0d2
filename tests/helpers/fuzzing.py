"""How many random examples the slow tests of damaged input try."""

import os

MANY_EXAMPLES = int(os.environ.get("KINESTORE_FUZZ_EXAMPLES", "2000"))
"""2,000 in CI, for its time; `make fuzz` tries 10,000."""
