"""The outputs: other places, besides the record, for what it says."""

from collections.abc import Callable, Mapping

from pawtag.config import Settings
from pawtag.domain.ports import Output

# By the name under which a record keeps what the output wrote. A builder returns None where the settings ask for none.
OUTPUTS: dict[str, Callable[[Settings], Output | None]] = {}


def build_outputs(settings: Settings) -> Mapping[str, Output]:
    """The outputs that the settings ask for."""
    built = {name: build(settings) for name, build in OUTPUTS.items()}
    return {name: output for name, output in built.items() if output is not None}
