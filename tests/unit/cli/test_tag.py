"""`pawtag tag`: the line of a photo."""

from pawtag.cli.tag import _format_line
from pawtag.domain.records import PhotoRef
from support.records import record_for


def test_F15_control_characters_of_a_file_name_are_escaped():
    """A terminal does not obey a file name."""
    line = _format_line("a\x1b[2J.jpg", record_for(PhotoRef("/p/a.jpg", 5, 0)), as_json=False)
    assert line == r"a\x1b[2J.jpg: cat 0.90"
