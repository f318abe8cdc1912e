"""A warning on stderr that the fallback tags, instead of the model of the settings."""

import sys

from pawtag.domain.records import TaggerIdentity


def warn_of_fallback(identity: TaggerIdentity) -> None:
    """Say which model is missing, and how to get it."""
    model = identity.model
    if model.fallback:
        text = f"the model {model.wanted} is not on this machine, and the embedded model tags instead"
        print(f"pawtag: {text}; 'pawtag model pull' downloads it", file=sys.stderr)
