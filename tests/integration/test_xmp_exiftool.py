"""XMP against exiftool, which Immich and many others use: it reads what pawtag writes, and the other way round."""

import json
import shutil
import subprocess

import pytest

from pawtag.images.embedded_keywords import read_embedded_keywords
from pawtag.outputs.xmp.keywords import HIERARCHY, SUBJECT, KeywordEdit, OwnKeywords
from pawtag.outputs.xmp.memory import XmpMemory
from pawtag.outputs.xmp.packet import Packet
from support.pictures import plain
from support.xmp import ALL

EXIFTOOL = shutil.which("exiftool")
pytestmark = pytest.mark.skipif(EXIFTOOL is None, reason="exiftool is not installed: scripts/exiftool.sh installs it")
KEYWORD_TAGS = ("XMP-dc:Subject", "XMP-lr:HierarchicalSubject", "XMP-digiKam:TagsList")


def run_exiftool(*arguments) -> str:
    done = subprocess.run(
        [EXIFTOOL, "-config", "", *map(str, arguments)], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


def read_tags(path) -> dict:
    """Everything that exiftool finds, by group; of the file itself nothing."""
    (found,) = json.loads(run_exiftool("-json", "-G1", "-a", "-struct", path))
    return {name: value for name, value in found.items() if name.startswith("XMP-")}


def tag(path, *wanted) -> XmpMemory:
    """Write the keywords as the output does."""
    packet = Packet(path.read_bytes()) if path.exists() else Packet.create()
    memory = XmpMemory(file=path.name, is_new=not path.exists())
    after = KeywordEdit(packet, memory, wanted, OwnKeywords).apply()
    path.write_bytes(packet.encode())
    return after


def test_exiftool_reads_a_sidecar_that_pawtag_makes(tmp_path):
    """All three fields, and no complaint about the structure."""
    path = tmp_path / "a.jpg.xmp"
    tag(path, ("pets", "cat"), ("pets", "long-hair"))
    found = read_tags(path)
    assert found["XMP-dc:Subject"] == ["cat", "long-hair"]
    assert found["XMP-lr:HierarchicalSubject"] == ["pets|cat", "pets|long-hair"]
    assert found["XMP-digiKam:TagsList"] == ["pets/cat", "pets/long-hair"]
    assert "Warning" not in run_exiftool("-validate", "-warning", "-a", path)


@pytest.mark.parametrize("app", ALL)
def test_exiftool_finds_everything_else_as_before(tmp_path, app):
    """In the files of all apps, while our keywords are there and after they went."""
    path = tmp_path / "a.jpg.xmp"
    path.write_text(ALL[app])
    before = read_tags(path)
    after = tag(path, ("pets", "cat"))
    between = read_tags(path)
    others = {name: value for name, value in before.items() if name not in KEYWORD_TAGS}
    assert {name: value for name, value in between.items() if name not in KEYWORD_TAGS} == others
    assert "cat" in between["XMP-dc:Subject"]
    packet = Packet(path.read_bytes())
    KeywordEdit(packet, after, (), OwnKeywords).apply()
    path.write_bytes(packet.encode())
    assert read_tags(path) == before


def test_a_sidecar_that_exiftool_makes_is_extended(tmp_path):
    """As Immich makes them."""
    path = tmp_path / "a.jpg.xmp"
    run_exiftool("-o", path, "-XMP-digiKam:TagsList=Family/Anna", "-XMP-xmp:Rating=4", "-XMP-dc:Description=Süd")
    tag(path, ("pets", "cat"))
    found = read_tags(path)
    assert found["XMP-digiKam:TagsList"] == ["Family/Anna", "pets/cat"]
    assert (found["XMP-xmp:Rating"], found["XMP-dc:Description"]) == (4, "Süd")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_the_keywords_that_exiftool_writes_into_a_photo_are_found(tmp_path, kind):
    """XMP in each format, also after the pixels of a PNG, and IPTC where the format has it."""
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(plain(kind=kind))
    xmp = ["-XMP-dc:Subject=Süden", "-XMP-dc:Subject=sea", "-XMP-lr:HierarchicalSubject=Places|Rügen"]
    iptc = [] if kind == "PNG" else ["-codedcharacterset=utf8", "-IPTC:Keywords=Möwe", "-IPTC:Keywords=sea"]
    run_exiftool("-overwrite_original", *xmp, *iptc, path)
    found = read_embedded_keywords(path.read_bytes())
    own = OwnKeywords.read(Packet(found.xmp), flat=found.iptc)
    assert own.words[HIERARCHY] == ("Places|Rügen",)
    assert own.words[SUBJECT] == (("Süden", "sea") if kind == "PNG" else ("Süden", "sea", "Möwe"))


def test_iptc_in_latin_1_is_read(tmp_path):
    """Without a character set, as older programs write it."""
    path = tmp_path / "a.jpg"
    path.write_bytes(plain(kind="JPEG"))
    run_exiftool("-overwrite_original", "-charset", "iptc=Latin", "-IPTC:Keywords=Möwe", path)
    assert read_embedded_keywords(path.read_bytes()).iptc == ("Möwe",)
