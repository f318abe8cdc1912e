"""The documents: links lead somewhere, commands and settings exist, code blocks can be read, lines end with a thought."""

import argparse
import itertools
import json
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
import yaml

from pawtag.__main__ import build_parser, import_commands
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from support.documents import DOCUMENTS, list_anchors, list_links, read_blocks, read_prose
from support.paths import ROOT

BLOCKS = [block for path in DOCUMENTS for block in read_blocks(path)]
CODE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?:^|[\s;(/])pawtag((?: +[^\s;|)`]+)*)")
SCRIPT = re.compile(r"(?<![\w/.])(?:\./)?((?:scripts|\.ci)/[\w./-]+)((?: +[^\s;|)`]+)*)")
VARIABLE = re.compile(r"PAWTAG_([A-Z0-9]+__[A-Z0-9_]+)")
SETTINGS = {
    f"{section}.{name}" for section, field in Settings.model_fields.items() for name in field.annotation.model_fields
}
SETTING = re.compile(rf"`((?:{'|'.join(Settings.model_fields)})\.[a-z0-9_]+)(?: = [^`]*)?`")
# In labels.toml a label has the form of a setting, and the file its name.
# Files, labels in labels.toml, and fields of a record have the form of a setting.
NO_SETTINGS = re.compile(r"labels\.(toml|csv|cat|ferret|none)|state\.db|log\.py|model\.(wanted|fallback)")
THOUGHT_END = re.compile(r"[.:;!?…>][)*_`\"]*$|\)$|^\|.*\|$|^#|\\$")


def ids(value):
    return str(value.relative_to(ROOT)) if hasattr(value, "relative_to") else value.place


def choose(*languages):
    return pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in languages], ids=ids)


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_links_and_anchors_lead_somewhere(path):
    """Each file that a document links to is there, and so is the heading of the anchor."""
    for link in list_links(path):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in list_anchors(target), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_each_document_is_linked_from_the_readme_or_a_page(path):
    """A page that nothing leads to is read by nobody."""
    linked = {(each.parent / link.partition("#")[0]).resolve() for each in DOCUMENTS for link in list_links(each)}
    assert path.name == "README.md" or path in linked


def find_parser(words, parser):
    """The parser of the command that the words begin with, and the words that follow. Raises AssertionError."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and words:
            assert words[0] in action.choices, f"there is no command {' '.join(words)}"
            return find_parser(words[1:], action.choices[words[0]])
    return parser, words


def read_words(text):
    """The words of a command, up to what only stands for something."""
    words = []
    for word in text.split():
        if not re.fullmatch(r"[\w./:=@%\[\]'\"{}?&~$<>*,+-]+", word) or word in ("...", "\\") or word.startswith("#"):
            break
        words.append(word.strip("[]"))
    return words


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_commands_and_their_options_exist(path):
    """Each `pawtag ...` of a document, in a code block or in a sentence."""
    parser = build_parser(import_commands())
    blocks = [block.text.replace("\\\n", " ") for block in read_blocks(path) if block.language in ("sh", "console")]
    inline = [code for code in CODE.findall(read_prose(path)) if code.startswith(("pawtag ", ".venv/bin/pawtag "))]
    for text in [*inline, *(line for block in blocks for line in block.splitlines())]:
        for arguments in COMMAND.findall(text.partition(" # ")[0]):
            words = read_words(arguments)
            if not words or not re.match(r"[a-z-]", words[0]):
                continue
            while words and words[0] in ("--config", "--model", "--labels", "pawtag"):
                words = words[1 if words[0] == "pawtag" else 2 :]
            options = {option.partition("=")[0] for option in words if option.startswith("--")}
            found, _ = find_parser([word for word in words if not word.startswith("-")], parser)
            assert options <= set(found._option_string_actions), text


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_scripts_and_their_options_exist(path):
    """Each script that a document names, with the options that it is called with."""
    for name, arguments in SCRIPT.findall(path.read_text()):
        script = ROOT / name.rstrip(".")
        assert script.exists(), name
        if script.suffix == ".py":
            for option in re.findall(r"--[a-z-]+", arguments):
                assert f'"{option}"' in script.read_text(), f"{name} {option}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_settings_exist(path):
    """Each `section.name` and each variable of the environment. The changelog also names those that are gone."""
    if path.name == "CHANGELOG.md":
        pytest.skip("the changelog names old settings, too")
    text = path.read_text()
    named = {name for name in SETTING.findall(text) if not NO_SETTINGS.fullmatch(name)}
    named |= {name.lower().replace("__", ".").rstrip("_") for name in VARIABLE.findall(text)} - {"section.name"}
    assert sorted(named - SETTINGS) == []


@choose("toml")
def test_toml_blocks_are_settings_or_labels(block, tmp_path):
    """pawtag accepts them as they stand. A block of `labels.NAME = [...]` alone is a part of a labels file."""
    document = tomllib.loads(block.text)
    words = document.get("labels", {}).values()
    if "groups" in document:
        (tmp_path / "labels.toml").write_text(block.text)
        (tmp_path / "everyday.txt").write_text("bowl\n")
        load_labels(tmp_path / "labels.toml")
    elif not any(isinstance(each, list) for each in words):
        Settings.model_validate(document)


@choose("yaml")
def test_yaml_blocks_can_be_read(block):
    """Also those that are a part of a file."""
    assert list(yaml.safe_load_all(block.text))


@choose("json")
def test_json_blocks_can_be_read(block):
    """Also records and answers of the server."""
    json.loads(block.text)


@choose("python")
def test_python_blocks_can_be_compiled(block):
    """Their calls are not run."""
    compile(block.text, block.place, "exec")


@choose("sh")
def test_shell_blocks_can_be_parsed(block):
    """By bash, which runs nothing of them; a line in angle brackets would be a redirection."""
    done = subprocess.run(["bash", "-n"], input=block.text.encode(), capture_output=True, timeout=10)
    assert done.returncode == 0, done.stderr.decode()
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.count("'") % 2 == 0:
            shlex.split(line, comments=True)


def test_no_block_is_without_a_language():
    """It would be checked by none of the tests above."""
    known = {"sh", "console", "json", "toml", "yaml", "python", "text", "mermaid", "javascript", "nginx", "csv"}
    assert [block.place for block in BLOCKS if block.language not in known] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_no_line_of_prose_ends_in_mid_thought(path):
    """A sentence stands on a line of its own, however long: a change of it is a change of one line."""
    lines = read_prose(path).splitlines()
    for line, following in itertools.pairwise(lines):
        is_continued = following.strip() and not re.match(r"\s*([-*|#>]|\d+\. )", following)
        if line.strip() and is_continued:
            assert THOUGHT_END.search(line.rstrip()), line


def test_the_references_are_those_of_the_code():
    """docs/configuration.md and docs/command-line.md: `python scripts/reference.py --write` brings them up to date."""
    done = subprocess.run([sys.executable, ROOT / "scripts/reference.py"], capture_output=True, timeout=50)
    assert done.returncode == 0, done.stderr.decode()
