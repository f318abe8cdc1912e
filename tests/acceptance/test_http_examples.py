"""The examples of docs/http.md, each run by curl against a real daemon."""

import itertools
import json
import re
import shutil
import subprocess

import pytest
from PIL import Image

from support.documents import read_blocks
from support.paths import ROOT
from support.process import daemon, get, sidecar

pytestmark = pytest.mark.timeout(180)
ADDRESS, ELLIPSIS = "http://127.0.0.1:7860", "…"
# The ids in the document: digests of the places of these photos.
IDS = {"cce4f1e913ef9d4a6295ff8bccf07214": "mimi.jpg", "6f1ed002ab5595859014ebf0951522d9": "broken.jpg"}
BLOCKS = read_blocks(ROOT / "docs/http.md")
EXAMPLES = [(block, answer) for block, answer in itertools.pairwise(BLOCKS) if block.language == "console"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, chelsea):
    """A folder with the files of the examples, a running daemon that watches its photos, and their ids."""
    home = tmp_path_factory.mktemp("home")
    photos = home / "photos"
    photos.mkdir()
    Image.open(chelsea).convert("RGB").save(home / "mimi.jpg", quality=90)
    shutil.copy(home / "mimi.jpg", photos)
    for path in (home / "notes.txt", photos / "broken.jpg"):
        path.write_text("This is no picture.")
    with daemon(home) as running:
        sidecar(photos / "mimi.jpg")
        sidecar(photos / "broken.jpg")
        ids = {row["name"]: row["id"] for row in get(running.address, "/photos")["photos"]}
        yield home, running.address, ids


@pytest.mark.parametrize(("example", "answer"), EXAMPLES, ids=lambda block: block.place)
def test_an_example_gets_the_answer_of_the_document(place, example, answer):
    """Keys, texts and types are those of the document; numbers, digests and times are not compared."""
    home, address, ids = place
    command = example.text.removeprefix("$ ").replace(ADDRESS, address)
    for documented, name in IDS.items():
        command = command.replace(documented, ids[name])
    found = subprocess.run(["bash", "-c", command], cwd=home, capture_output=True, timeout=60)
    if answer.language == "json":
        assert_fits(json.loads(answer.text), json.loads(found.stdout))
    else:
        assert found.stdout.decode().strip() == answer.text.strip()


def assert_fits(documented, found):
    """`documented` may leave out keys and items with an ellipsis, and parts of a text."""
    if isinstance(documented, dict):
        shown = documented.keys() - {ELLIPSIS}
        assert shown <= found.keys() if ELLIPSIS in documented else shown == found.keys() - {"download"}
        for key in shown:
            assert_fits(documented[key], found[key])
    elif isinstance(documented, list):
        shown = [each for each in documented if each != ELLIPSIS]
        assert len(shown) == len(found) or (len(shown) < len(documented) and len(shown) < len(found))
        for each, other in zip(shown, found, strict=False):
            assert_fits(each, other)
    elif isinstance(documented, str):
        parts = [re.escape(normalise(part)) for part in documented.split(ELLIPSIS)]
        assert re.fullmatch(".*".join(parts), normalise(found)), found
    else:
        assert type(documented) is type(found)
        assert (isinstance(documented, int | float) and not isinstance(documented, bool)) or documented == found


def normalise(text):
    """A text without what differs in each run: digests and digits."""
    return re.sub(r"\d+", "#", re.sub(r"\b[0-9a-f]{12,}", "#", text))


def test_every_route_has_an_example(place):
    """But the files of the page, and routes that answer with what no example can show."""
    _, address, _ = place
    text = "\n".join(block.text for block, _ in EXAMPLES)
    for documented in IDS:
        text = text.replace(documented, "{id}")
    for path in get(address, "/openapi.json")["paths"]:
        assert path in ("/", "/page/{name}", "/openapi.json") or ADDRESS + path in text, path
