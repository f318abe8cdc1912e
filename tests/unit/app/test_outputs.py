"""The registry of outputs."""

from pawtag.app import outputs
from pawtag.config import Settings
from support.doubles import MemoryOutput


def test_an_output_is_built_where_the_settings_ask_for_it(monkeypatch):
    """By its name; another one is left out."""
    output = MemoryOutput()
    monkeypatch.setattr(outputs, "OUTPUTS", {"xmp": lambda _: output, "off": lambda _: None})
    assert outputs.build_outputs(Settings()) == {"xmp": output}
