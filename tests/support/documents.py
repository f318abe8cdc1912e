"""The documents of the project: their prose, code blocks, links and headings."""

import re
from dataclasses import dataclass
from pathlib import Path

from support.paths import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "daemon/pawtag/inference/embedded/README.md"])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A fenced block: where it is, its language, its text."""

    place: str
    language: str
    text: str


def read_blocks(path: Path) -> list[CodeBlock]:
    """The code blocks of a document, in its order."""
    text, name = path.read_text(), path.relative_to(ROOT)
    return [
        CodeBlock(f"{name}:{text.count(chr(10), 0, found.start()) + 1}", found[1], found[2])
        for found in BLOCK.finditer(text)
    ]


def read_prose(path: Path) -> str:
    """A document without its code blocks."""
    return BLOCK.sub("", path.read_text())


def list_links(path: Path) -> list[str]:
    """The targets of the links and pictures of a document."""
    return LINK.findall(read_prose(path))


def list_anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", each) for each in HEADING.findall(read_prose(path)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
