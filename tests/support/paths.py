"""Where the repository is, and what lies next to it. The environment names other places."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
PETS = Path(os.environ.get("PAWTAG_PETS", SHARED / "pets"))
STORES = Path(os.environ.get("PAWTAG_STORES", SHARED / "stores"))
