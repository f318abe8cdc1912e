"""The entry point: errors become one sentence and an exit code."""

from pawtag.__main__ import main


def test_F15_control_characters_in_an_error_are_escaped(tmp_path, monkeypatch, capsys):
    """A wrong setting is exit code 2, whatever its path holds."""
    monkeypatch.chdir(tmp_path)
    assert main(["scan", "absent\x1b[2J"]) == 2
    assert capsys.readouterr().err == "pawtag: The folder absent\\x1b[2J does not exist.\n"
