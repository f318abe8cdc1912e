"""The paths of the repository and of the shared data next to it. Environment variables override them."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
PETS = Path(os.environ.get("PAWTAG_PETS", SHARED / "pets"))
STORES = Path(os.environ.get("PAWTAG_STORES", SHARED / "stores"))
