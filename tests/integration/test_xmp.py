"""XMP sidecars end to end: a folder, its records, what photo apps have written before."""

import argparse
import asyncio
import json
import os
import sys
import time
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from pawtag.app.outputs import build_outputs
from pawtag.cli import clean as clean_command
from pawtag.config import Settings
from pawtag.domain.errors import PawtagError, TemporaryError
from pawtag.domain.records import PhotoRef, Tag
from pawtag.outputs.xmp import output as xmp_output
from pawtag.outputs.xmp.output import XmpOutput
from pawtag.state import output_intents
from pawtag.state.database import StateDatabase
from pawtag.state.output_intents import OutputIntents
from support.doubles import colour_tagger
from support.folder import old, sidecar, tagged, until, watching_with
from support.pictures import BLUE, GREEN, plain
from support.pipeline import open_parts
from support.records import record_for
from support.xmp import ALL, DARKTABLE, DIGIKAM, IMMICH, canonical, read_words

SETTINGS = Settings(sidecar={"xmp": True})
EMBEDDED = ALL["lightroom"].replace("Trips|2026", "Places|Berlin").encode()


@asynccontextmanager
async def tagging(root, fingerprint="colours", sidecar_settings=None, state="state"):
    """The folder's part of a daemon with XMP."""
    settings = Settings(sidecar={"xmp": True, **(sidecar_settings or {})})
    state = root.parent / state
    with closing(StateDatabase(state)) as database:
        outputs = build_outputs(settings, database)
        async with (
            open_parts(colour_tagger(fingerprint=fingerprint), state, outputs) as parts,
            watching_with(parts, root) as work,
        ):
            yield work


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def clean(root, *, corrected: bool = False, dry_run: bool = False) -> int:
    """The command, in a thread; its exit code."""
    arguments = argparse.Namespace(place=str(root), dry_run=dry_run, corrected=corrected)
    try:
        return clean_command.execute(arguments, Settings(state={"dir": root.parent / "state"}))
    except PawtagError as error:
        print(error, file=sys.stderr)
        return 1


def age(photo) -> None:
    """Make its record one of a daemon before this one, that the last scan knew."""
    path = photo.parent / f"{photo.name}.json"
    record = json.loads(path.read_text()) | {"tagged_at": "2020-01-01T00:00:00Z"}
    path.write_text(json.dumps(record))
    os.utime(path, (time.time() - 60,) * 2)


async def run_round(root, photo, number: int) -> None:
    """Tagged, corrected by a person, tagged by another model, cleaned: the correction is the person's, and stays."""
    async with tagging(root, f"model-{number}") as work:
        await until(lambda: (sidecar(photo) or {}).get("fingerprint") == f"model-{number}")
        await work.worker.operations.correct(str(photo), {"species": ["green"]}, replaces=True)
        words = read_words(next(root.glob("*.xmp")).read_bytes())["digiKam:TagsList"]
        assert [word for word in words if word.startswith("pets/")] == ["pets/green"]
    age(photo)
    async with tagging(root, f"other-{number}"):
        await until(lambda: (sidecar(photo) or {}).get("fingerprint") == f"other-{number}")
    age(photo)
    assert await asyncio.to_thread(clean, root) == 0
    assert sidecar(photo)["corrected"] == {"species": ["green"]}
    assert sidecar(photo)["outputs"] == {}


async def run_rounds(root, photo) -> None:
    for number in range(3):
        await run_round(root, photo, number)
    assert await asyncio.to_thread(clean, root, corrected=True) == 0


async def test_a_photo_with_keywords_of_its_own_comes_through_three_rounds(root):
    """The sidecar that pawtag made has them too, and is gone at the end; the photo has not changed."""
    data = plain(kind="JPEG", xmp=EMBEDDED)
    photo = old(root / "a.jpg", data)
    async with tagging(root):
        await tagged(photo)
    assert read_words((root / "a.jpg.xmp").read_bytes())["digiKam:TagsList"] == ["Places/Berlin", "pets/red"]
    await run_rounds(root, photo)
    assert [path.name for path in root.iterdir()] == ["a.jpg"]
    assert photo.read_bytes() == data


@pytest.mark.parametrize("app", ALL)
@pytest.mark.parametrize("name", ["a.jpg.xmp", "a.xmp"])
async def test_the_sidecar_of_an_app_comes_through_three_rounds(root, app, name):
    """Under both names that apps use; with exactly its own keywords left."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    (root / name).write_text(ALL[app])
    await run_rounds(root, photo)
    assert sorted(path.name for path in root.iterdir()) == ["a.jpg", name]
    assert canonical((root / name).read_bytes()) == canonical(ALL[app])


async def test_a_sidecar_that_a_raw_file_shares_is_left_alone(root):
    """a.xmp is the raw file's; the photo gets a.jpg.xmp."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    (root / "a.CR2").write_bytes(b"raw")
    (root / "a.xmp").write_text(DARKTABLE)
    async with tagging(root):
        await tagged(photo)
    assert (root / "a.xmp").read_text() == DARKTABLE
    assert read_words((root / "a.jpg.xmp").read_bytes())["dc:subject"] == ["red"]


async def test_a_photo_without_a_tag_gets_no_xmp(root):
    """No pet, and a photo that cannot be read."""
    old(root / "none.png", plain(BLUE))
    old(root / "bad.png", b"no photo")
    async with tagging(root):
        await until(lambda: sidecar(root / "none.png") and sidecar(root / "bad.png"))
    assert not list(root.glob("*.xmp"))
    assert sidecar(root / "bad.png")["outputs"] == {"xmp": {"file": "bad.png.xmp"}}


async def test_xmp_that_is_switched_on_later_is_written_for_every_photo(root):
    """From the records; and again where the root is another."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    async with open_parts(colour_tagger(), root.parent / "state") as parts, watching_with(parts, root):
        await tagged(photo)
    assert not list(root.glob("*.xmp"))
    async with tagging(root):
        await until((root / "a.jpg.xmp").exists)
    async with tagging(root, sidecar_settings={"xmp_root": "animals/pets"}):
        path = root / "a.jpg.xmp"
        await until(lambda: read_words(path.read_bytes())["digiKam:TagsList"] == ["animals/pets/red"])


async def test_an_xmp_sidecar_that_cannot_be_read_is_named_and_left(root, caplog):
    """The photo has its record all the same; once the file is mended, its keywords follow."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    (root / "a.jpg.xmp").write_text("<broken")
    async with tagging(root) as work:
        await tagged(photo)
        assert (root / "a.jpg.xmp").read_text() == "<broken"
        assert "a.jpg.xmp is left unchanged: it is no XML" in caplog.text
        age(photo)
        work.source.rescan()
        await asyncio.sleep(0.3)
        (root / "a.jpg.xmp").write_text(DARKTABLE)
        work.source.rescan()
        await until(lambda: "red" in read_words((root / "a.jpg.xmp").read_bytes())["dc:subject"])
    assert "problem" not in sidecar(photo)["outputs"]["xmp"]


async def test_a_link_is_not_followed(root):
    """What it points to stays as it is, and so does the link."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    (root.parent / "elsewhere.xmp").write_text(DARKTABLE)
    (root / "a.jpg.xmp").symlink_to(root.parent / "elsewhere.xmp")
    async with tagging(root):
        await tagged(photo)
    assert (root / "a.jpg.xmp").is_symlink()
    assert (root.parent / "elsewhere.xmp").read_text() == DARKTABLE


@asynccontextmanager
async def open_output(tmp_path):
    with closing(StateDatabase(tmp_path / "state")) as database:
        yield XmpOutput("pets", OutputIntents(database, "xmp"), 10_000_000)


def ref_of(path) -> PhotoRef:
    status = path.stat()
    return PhotoRef(str(path), status.st_size, status.st_mtime_ns)


@pytest.mark.parametrize("is_written", [True, False])
async def test_a_process_that_ends_before_the_record_leaves_no_keyword_that_nobody_knows(root, monkeypatch, is_written):
    """Whether it ended before the file was written, or after: what it was about to write is in the state."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    (root / "a.jpg.xmp").write_text(DIGIKAM)
    ref = ref_of(photo)
    async with open_output(root.parent) as output:
        with monkeypatch.context() as patch:
            if not is_written:
                patch.setattr(xmp_output.XmpChange, "write", lambda _: None)
            await output.write(ref, record_for(ref), None)  # and the process ends
    async with open_output(root.parent) as output:
        assert output.unsettled == {str(photo)}
        assert not output.is_current(ref, record_for(ref), None)
        kept = await output.write(ref, record_for(ref, tags=()), None)
        assert canonical((root / "a.jpg.xmp").read_bytes()) == canonical(DIGIKAM)
        output.settle(ref)
        assert kept == {"file": "a.jpg.xmp"}
        assert output.unsettled == set()
        other = ref_of(old(root / "b.jpg", plain(kind="JPEG")))
        await output.write(other, record_for(other), None)
    async with open_output(root.parent) as output:
        assert output.unsettled == {other.uri}


async def test_a_settled_photo_is_settled_for_the_next_process(root):
    """Else each scan would write the last photo of the one before again, and `pawtag status` would call it stale."""
    ref = ref_of(old(root / "a.jpg", plain(kind="JPEG")))
    async with open_output(root.parent) as output:
        await output.write(ref, record_for(ref), None)
        output.settle(ref)
    async with open_output(root.parent) as output:
        assert output.unsettled == set()


async def test_a_settled_photo_is_soon_settled_for_another_process(root, monkeypatch):
    """While the first one works on."""
    monkeypatch.setattr(output_intents, "REMOVE_AFTER_S", 0.05)
    ref = ref_of(old(root / "a.jpg", plain(kind="JPEG")))
    async with open_output(root.parent) as output:
        await output.write(ref, record_for(ref), None)
        output.settle(ref)
        await asyncio.sleep(0.3)
        async with open_output(root.parent) as other:
            assert other.unsettled == set()


async def test_a_process_that_ends_after_the_record_leaves_the_word_that_a_person_types_then(root):
    """The record says what was written; the state's note is old."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    (root / "a.jpg.xmp").write_text(DIGIKAM)
    ref = ref_of(photo)
    async with open_output(root.parent) as output:
        before = await output.write(ref, record_for(ref), None)
        output.settle(ref)
        after = await output.write(ref, record_for(ref, tags=()), before)  # and the process ends
    (root / "a.jpg.xmp").write_text(DIGIKAM.replace("<rdf:li>Ben<", "<rdf:li>cat<"))
    async with open_output(root.parent) as output:
        await output.write(ref, record_for(ref, tags=()), after)
        assert read_words((root / "a.jpg.xmp").read_bytes())["dc:subject"] == ["cat"]


async def test_a_preview_of_clean_names_the_xmp_sidecars(root, capsys):
    """They change, too, and nothing changes yet."""
    photo = old(root / "a.png", plain())
    async with tagging(root):
        await tagged(photo)
    assert await asyncio.to_thread(clean, root, dry_run=True) == 0
    assert f"{root / 'a.png.xmp'}: what pawtag added\n" in capsys.readouterr().out
    assert (root / "a.png.xmp").exists()


async def test_clean_takes_back_what_no_record_says(root):
    """A process ended between XMP and record; the photo may be gone, too."""
    for name in ("a.jpg", "b.jpg"):
        ref = ref_of(old(root / name, plain(kind="JPEG")))
        async with open_output(root.parent) as output:
            await output.write(ref, record_for(ref), None)
    (root / "b.jpg").unlink()
    assert await asyncio.to_thread(clean, root) == 0
    assert [path.name for path in root.iterdir()] == ["a.jpg"]


async def test_a_correction_that_was_interrupted_is_finished_by_the_next_start(root):
    """Its record is current and was not read since; the file was changed."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    async with tagging(root):
        record = await tagged(photo)
    os.utime(root / "a.jpg.json", (time.time() - 60,) * 2)
    async with tagging(root):
        await asyncio.sleep(0.2)  # the scan remembers the photo
    async with open_output(root.parent) as output:
        green = record_for(ref_of(photo), tags=(Tag(label="green", group="species", score=1.0),))
        await output.write(ref_of(photo), green, record["outputs"]["xmp"])  # and the process ends
    async with tagging(root):
        await until(lambda: read_words((root / "a.jpg.xmp").read_bytes())["dc:subject"] == ["red"])


async def test_keywords_follow_a_correction_that_was_made_without_xmp(root):
    """By a command with other settings, or while it was off."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    async with tagging(root):
        await tagged(photo)
    async with open_parts(colour_tagger(), root.parent / "state") as parts, watching_with(parts, root) as work:
        await work.worker.operations.correct(str(photo), {"species": ["green"]}, replaces=True)
    assert read_words((root / "a.jpg.xmp").read_bytes())["dc:subject"] == ["red"]
    async with tagging(root):
        await until(lambda: read_words((root / "a.jpg.xmp").read_bytes())["dc:subject"] == ["green"])


async def test_two_daemons_do_not_forget_whose_keyword_it_is(root):
    """Each with a state of its own: nothing of ours is left after clean."""
    photos = [root / f"{number}.jpg" for number in range(20)]
    for photo in photos:
        (root / f"{photo.name}.xmp").write_text(DIGIKAM)
    async with tagging(root), tagging(root, state="other"):
        for photo in photos:
            photo.write_bytes(plain(kind="JPEG"))
        for photo in photos:
            await tagged(photo)
        await asyncio.sleep(0.5)
    for state in ("state", "other"):
        settings = Settings(state={"dir": root.parent / state})
        arguments = argparse.Namespace(place=str(root), dry_run=False, corrected=True)
        await asyncio.to_thread(clean_command.execute, arguments, settings)
    for photo in photos:
        assert canonical((root / f"{photo.name}.xmp").read_bytes()) == canonical(DIGIKAM), photo


@pytest.mark.parametrize("kind", ["folder", "fifo", "secret"])
async def test_what_cannot_be_edited_under_the_name_of_a_sidecar_is_named(root, kind):
    """The photo has its record, and it is no endless retry; no descriptor is left open."""
    photo, path = old(root / "a.jpg", plain(kind="JPEG")), root / "a.jpg.xmp"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_text(DIGIKAM)
        path.chmod(0)
    if kind == "secret" and os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    ref, before = ref_of(photo), len(os.listdir("/proc/self/fd"))
    async with open_output(root.parent) as output:
        for _ in range(5):
            kept = await output.write(ref, record_for(ref), None)
        assert kept["problem"] in ("it is no regular file", "it may not be read")
        assert output.is_current(ref, record_for(ref), kept)
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_the_sidecar_of_a_file_that_is_named_like_the_stem_is_its_own(root):
    """IMG.heic.jpg, as converters write it, beside IMG.heic; a backup of exiftool shares nothing."""
    photo = old(root / "IMG.heic.jpg", plain(kind="JPEG"))
    (root / "IMG.heic").write_bytes(b"heic")
    (root / "IMG.heic.xmp").write_text(IMMICH)
    (root / "b.jpg").write_bytes(plain(kind="JPEG"))
    (root / "b.jpg_original").write_bytes(b"backup")
    (root / "b").mkdir()
    (root / "b.xmp").write_text(IMMICH)
    async with open_output(root.parent) as output:
        assert (await output.write(ref_of(photo), record_for(ref_of(photo)), None))["file"] == "IMG.heic.jpg.xmp"
        assert (await output.write(ref_of(root / "b.jpg"), record_for(ref_of(root / "b.jpg")), None))["file"] == "b.xmp"
    assert (root / "IMG.heic.xmp").read_text() == IMMICH


async def test_a_file_that_an_app_makes_at_the_same_moment_is_not_replaced(root, monkeypatch):
    """It is found, and extended by the next attempt."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    encode, left = xmp_output.Packet.encode, [1]

    def make_meanwhile(packet):
        if left and left.pop():
            (root / "a.jpg.xmp").write_text(IMMICH)
        return encode(packet)

    monkeypatch.setattr(xmp_output.Packet, "encode", make_meanwhile)
    async with tagging(root) as work:
        await tagged(photo)
        assert not work.worker._reconciler.outputs["xmp"].unsettled
    assert read_words((root / "a.jpg.xmp").read_bytes())["digiKam:TagsList"] == ["Family/Anna", "holiday", "pets/red"]


async def test_a_change_by_another_program_at_the_same_moment_is_not_overwritten(root, monkeypatch):
    """It is looked at again just before the rename; the next attempt has both."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    (root / "a.jpg.xmp").write_text(DIGIKAM)
    encode, left = xmp_output.Packet.encode, [1]

    def change_meanwhile(packet):
        if left and left.pop():
            (root / "a.jpg.xmp").write_text(IMMICH)
        return encode(packet)

    monkeypatch.setattr(xmp_output.Packet, "encode", change_meanwhile)
    async with tagging(root):
        await tagged(photo)
    after = read_words((root / "a.jpg.xmp").read_bytes())
    assert after["digiKam:TagsList"] == ["Family/Anna", "holiday", "pets/red"]


async def test_the_permissions_of_a_sidecar_stay(root):
    """A group may write it."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    (root / "a.jpg.xmp").write_text(DIGIKAM)
    (root / "a.jpg.xmp").chmod(0o664)
    async with tagging(root):
        await tagged(photo)
    assert "pets/red" in (root / "a.jpg.xmp").read_text()
    assert (root / "a.jpg.xmp").stat().st_mode & 0o777 == 0o664


async def test_keywords_move_to_the_file_that_apps_read_now(root):
    """An app has made a.jpg.xmp where a.xmp was alone."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    (root / "a.xmp").write_text(DARKTABLE)
    async with tagging(root) as work:
        await tagged(photo)
        assert "red" in read_words((root / "a.xmp").read_bytes())["dc:subject"]
        (root / "a.jpg.xmp").write_text(IMMICH)
        await work.worker.operations.correct(str(photo), {"species": ["green"]}, replaces=True)
    assert canonical((root / "a.xmp").read_bytes()) == canonical(DARKTABLE)
    assert "pets/green" in read_words((root / "a.jpg.xmp").read_bytes())["digiKam:TagsList"]


async def test_a_file_that_somebody_wrote_into_stays_after_clean(root):
    """Without our keywords."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    async with tagging(root):
        await tagged(photo)
    path = root / "a.jpg.xmp"
    path.write_text(
        path.read_text().replace("</rdf:Description>", "<xmp:Rating xmlns:xmp='x'>4</xmp:Rating></rdf:Description>")
    )
    assert await asyncio.to_thread(clean, root) == 0
    assert read_words(path.read_bytes()) == {}
    assert "Rating" in path.read_text()


async def test_clean_keeps_the_record_of_keywords_that_it_cannot_remove(root, capsys):
    """It says which file, and fails; nothing is printed of it otherwise."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))
    async with tagging(root):
        await tagged(photo)
    (root / "a.jpg.xmp").write_text("<broken")
    assert await asyncio.to_thread(clean, root) == 1
    assert "a.jpg.xmp is left unchanged: it is no XML" in capsys.readouterr().err
    assert (root / "a.jpg.json").exists()


async def test_a_folder_that_cannot_be_written_is_named_with_the_cure(root, monkeypatch):
    """The photo is retried, as for its sidecar."""
    photo = old(root / "a.jpg", plain(kind="JPEG"))

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pawtag.outputs.xmp.sidecar_file.write_atomically", refuse)
    async with open_output(root.parent) as output:
        with pytest.raises(TemporaryError, match=r"set sidecar\.xmp = false"):
            await output.write(ref_of(photo), record_for(ref_of(photo)), None)


@pytest.mark.parametrize("name", ["café ü.jpg", b"bytes-\xff.jpg", "a" * 249 + ".jpg"])
async def test_any_name_gets_its_xmp_or_a_reason(root, name):
    """Bytes that are no UTF-8; a name to which a suffix would be too long."""
    path = root / (os.fsdecode(name) if isinstance(name, bytes) else name)
    photo = old(path, plain(kind="JPEG"))
    async with open_output(root.parent) as output:
        kept = await output.write(ref_of(photo), record_for(ref_of(photo)), None)
        assert json.loads(json.dumps(kept)) == kept
        if len(path.name) > 200:
            assert kept["problem"] == "its name would be too long"
            return
        assert Path(f"{path}.xmp").exists()
        await output.remove(ref_of(photo), kept)
        assert not Path(f"{path}.xmp").exists()


async def test_a_pattern_that_fits_everything_takes_no_xmp_for_a_photo(root):
    """Its name says what it is."""
    photo = old(root / "a.jpg", plain(GREEN, kind="JPEG"))
    (root / "a.jpg.xmp").write_text(DIGIKAM)
    with closing(StateDatabase(root.parent / "state")) as database:
        outputs = build_outputs(SETTINGS, database)
        async with (
            open_parts(colour_tagger(), root.parent / "state", outputs) as parts,
            watching_with(parts, root, patterns=("*",)),
        ):
            await tagged(photo, "green")
            await asyncio.sleep(0.3)
    assert not (root / "a.jpg.xmp.json").exists()
