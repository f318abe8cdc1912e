"""Single photos that a person names: why pawtag does what, and what a person knows better."""

import asyncio
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from pawtag.app.photo_access import PhotoAccess
from pawtag.app.wiring import build_folder_runner
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError, GoneError, TemporaryError
from pawtag.domain.records import ModelInfo
from pawtag.folder.sidecars import Sidecars
from pawtag.pipeline.reconciler import Reconciler
from pawtag.state.owed import OwedPhotos
from support.buckets import BUCKET, FAST, put, scan, settings_for, sidecar, tags
from support.doubles import ColourEngine, colour_tagger
from support.fault_proxy import Answer, FaultProxy
from support.pictures import BLUE, RED, plain
from support.pipeline import open_parts

OLD_S = 1_000_000_000


@asynccontextmanager
async def opened(settings: Settings, state=None, **tagger_options):
    """(access, reconciler, database): what the commands have."""
    async with open_parts(colour_tagger(**tagger_options), state) as parts:
        with ThreadPoolExecutor(1) as threads:
            yield PhotoAccess(settings, threads, FAST), Reconciler(parts.tagger), parts.database


async def explain(settings: Settings, *places, **tagger_options):
    """What `pawtag status` says of each place."""
    async with opened(settings, **tagger_options) as (access, reconciler, database):
        return [await access.explain(str(place), reconciler, database) for place in places]


async def correct(settings: Settings, place, by_group, **tagger_options):
    """What `pawtag correct` does; the record."""
    async with opened(settings, **tagger_options) as (access, reconciler, _), access.open(str(place)) as photo:
        return await reconciler.correct(photo, by_group)


def old(path, data: bytes = plain()):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (OLD_S, OLD_S))
    return path


def read(photo) -> dict:
    return json.loads(photo.with_name(f"{photo.name}.json").read_text())


async def tag_folder(root, settings: Settings, **tagger_options) -> None:
    async with open_parts(colour_tagger(**tagger_options)) as parts:
        runner, stop = build_folder_runner(settings, root, parts), asyncio.Event()
        await runner.source.scan()
        task = asyncio.create_task(runner.worker.run(stop))
        async with asyncio.timeout(20):
            while not runner.source.is_drained:
                await asyncio.sleep(0.02)
        stop.set()
        await task


@pytest.fixture
def settings(tmp_path) -> Settings:
    """A folder that is watched, without waits."""
    folder = {"path": tmp_path / "photos", "settle_s": 0, "stable_s": 0.1}
    (tmp_path / "photos").mkdir()
    return Settings(folder=folder, model={"cache_dir": tmp_path / "cache"})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("notes.txt", "matches none of folder.patterns"),
        ("a.png.json", "name is that of a record or a temporary file"),
        (".a.png", "hidden"),
        ("@eaDir/a.png", "service folder @eaDir"),
        (".trash/deep/a.png", "service folder .trash"),
        ("../outside.png", "not below the folder"),
        ("sub", "'pawtag scan'"),
    ],
)
async def test_a_path_that_is_passed_over_says_why(settings, name, reason):
    """By its name, its place or its kind."""
    path = settings.folder.path / name
    if name == "sub":
        path.mkdir()
    else:
        old(path)
    (found,) = await explain(settings, path)
    assert (found.state, reason in found.reason) == ("skipped", True), found


async def test_a_link_and_a_missing_file_say_so(settings):
    """The one is never followed, of the other nothing is known."""
    (settings.folder.path / "link.png").symlink_to(old(settings.folder.path / "a.png"))
    link, missing = await explain(settings, settings.folder.path / "link.png", settings.folder.path / "b.png")
    assert (link.state, "a link" in link.reason) == ("skipped", True)
    assert missing.state == "unknown"


async def test_a_photo_is_new_then_current_then_stale(settings):
    """With what has changed: content, labels or model, a correction."""
    path = old(settings.folder.path / "a.png")
    os.utime(path, (time.time(),) * 2)
    (settling,) = await explain(settings, path)
    assert settling.state == "settling"
    await tag_folder(settings.folder.path, settings)
    (current,) = await explain(settings, path)
    assert (current.state, current.since) == ("current", read(path)["tagged_at"])
    (other,) = await explain(settings, path, fingerprint="newer")
    assert (other.state, "thresholds or preprocessing" in other.reason) == ("stale", True)
    document = read(path) | {"labels": "others", "fingerprint": "older"}
    path.with_name("a.png.json").write_text(json.dumps(document))
    (labels,) = await explain(settings, path)
    assert (labels.state, labels.reason) == ("stale", "The labels have changed since.")
    path.write_bytes(plain(BLUE) + b" ")
    (changed,) = await explain(settings, path)
    assert (changed.state, "has changed" in changed.reason) == ("stale", True)


async def test_a_failed_photo_tells_its_code(settings):
    """And since when."""
    path = old(settings.folder.path / "a.png", b"broken")
    await tag_folder(settings.folder.path, settings)
    (found,) = await explain(settings, path)
    assert (found.state, found.code) == ("failed", "not-an-image")
    assert found.since == read(path)["tagged_at"]


async def test_status_writes_nothing(settings):
    """Whoever asks changes nothing."""
    path = old(settings.folder.path / "a.png")
    await explain(settings, path)
    assert [each.name for each in settings.folder.path.iterdir()] == ["a.png"]


async def test_an_object_is_explained_as_a_file_is(store, tmp_path):
    """By name, bucket and prefix; new, current, failed; what is owed a record says so."""
    for key, data in (("in/a.png", plain()), ("in/bad.png", b"broken")):
        put(store, key, data)
    await scan(store, tmp_path)
    put(store, "in/new.png", plain())
    settings = settings_for(store, state=tmp_path, bucket=BUCKET, prefix="in/")
    places = ["in/a.png", "in/bad.png", "in/new.png", "in/gone.png", "in/a.txt", "out/a.png"]
    async with opened(settings, tmp_path) as (access, reconciler, database):
        await OwedPhotos(database, "any").add([f"s3://{BUCKET}/in/new.png", f"s3://{BUCKET}/in/a.png"], "retag")
        found = [await access.explain(f"s3://{BUCKET}/{place}", reconciler, database) for place in places]
        other = await access.explain("s3://other/in/a.png", reconciler, database)
    assert [each.state for each in found] == ["current", "failed", "new", "unknown", "skipped", "skipped"]
    assert found[1].code == "not-an-image"
    assert all("still waits for a new record (retag 20" in found[number].reason for number in (0, 2))
    assert "another bucket" in other.reason


async def test_an_archived_object_is_skipped_unless_its_tags_are_current(store, tmp_path):
    """Its content cannot be read, and its tags can."""
    put(store, "a.png", plain())
    put(store, "b.png", plain())
    await scan(store, tmp_path)
    store.s3.delete_object_tagging(Bucket=BUCKET, Key="b.png")
    asleep = lambda asked: Answer(403, "InvalidObjectState") if asked.method == "GET" and not asked.query else None  # noqa: E731
    with FaultProxy(store.address, asleep) as proxy:
        settings = settings_for(store, state=tmp_path)
        s3 = settings.s3.model_copy(update={"endpoint_url": proxy.address})
        async with opened(settings.model_copy(update={"s3": s3})) as (access, reconciler, database):
            found = await access.explain(f"s3://{BUCKET}/a.png", reconciler, database)
            assert found.state == "current"
            found = await access.explain(f"s3://{BUCKET}/b.png", reconciler, database)
            assert (found.state, "archived" in found.reason) == ("skipped", True)
            async with access.open(f"s3://{BUCKET}/b.png") as photo:
                with pytest.raises(GoneError) as raised:
                    await reconciler.reconcile(photo)
    assert raised.value.reason == "archived"


async def test_a_correction_holds_without_the_model(settings):
    """The record is current: it is written again with the person's labels."""
    path, engine = old(settings.folder.path / "a.png"), ColourEngine()
    await tag_folder(settings.folder.path, settings)
    record = await correct(settings, path, {"species": ["green"]}, model=engine)
    assert engine.batches == []
    assert [tag.label for tag in record.tags] == ["green"]
    assert read(path)["corrected"] == {"species": ["green"]}
    (found,) = await explain(settings, path)
    assert found.state == "current"


async def test_a_correction_of_another_group_keeps_the_first(settings):
    """Each group for itself."""
    path = old(settings.folder.path / "a.png")
    await correct(settings, path, {"species": ["green"]})
    await correct(settings, path, {"coat": []})
    assert read(path)["corrected"] == {"species": ["green"], "coat": []}


async def test_a_correction_survives_another_model_and_can_be_taken_back(settings):
    """Then the model's tags come back."""
    path = old(settings.folder.path / "a.png", plain(RED))
    await correct(settings, path, {"species": ["green"]})
    await tag_folder(settings.folder.path, settings, fingerprint="newer")
    assert (read(path)["fingerprint"], read(path)["tags"][0]["label"]) == ("newer", "green")
    await correct(settings, path, None, fingerprint="newer")
    assert (read(path)["corrected"], read(path)["tags"][0]["label"]) == (None, "red")


async def test_a_photo_that_is_none_cannot_be_corrected(settings):
    """With the reason that status gives."""
    old(settings.folder.path / "notes.txt")
    with pytest.raises(ConfigError, match="matches none of"):
        await correct(settings, settings.folder.path / "notes.txt", {"species": ["green"]})


async def test_a_photo_beside_the_mirror_tree_is_refused(settings, tmp_path):
    """Nobody knows where its record would belong."""
    mirrored = settings.model_copy(update={"sidecar": settings.sidecar.model_copy(update={"dir": tmp_path / "mirror"})})
    inside = await correct(mirrored, old(settings.folder.path / "sub/a.png"), {"species": ["green"]})
    assert inside.corrected
    assert (tmp_path / "mirror/sub/a.png.json").exists()
    with pytest.raises(ConfigError, match="not below it; set"):
        await correct(mirrored, old(tmp_path / "outside/a.png"), {"species": ["green"]})


@pytest.mark.parametrize("output", ["tags", "sidecar", "both"])
async def test_a_correction_of_an_object_survives_tagging_again(store, tmp_path, output):
    """Also where tags alone hold it: a change of model or labels does not undo it."""
    put(store, "a.png", plain(RED), album="summer")
    settings = settings_for(store, state=tmp_path, output=output)
    await correct(settings, f"s3://{BUCKET}/a.png", {"species": ["green"]})
    await correct(settings, f"s3://{BUCKET}/a.png", {"coat": []}, fingerprint="newer")
    found = tags(store, "a.png")
    assert found["album"] == "summer"
    if output != "sidecar":
        assert (found["pawtag:species"], found["pawtag:corrected"]) == ("green", "species/coat")
        assert found["pawtag:fingerprint"].startswith("newer.")
    if output != "tags":
        assert sidecar(store, "a.png")["corrected"] == {"species": ["green"], "coat": []}
    await correct(settings, f"s3://{BUCKET}/a.png", None)
    if output != "sidecar":
        assert (tags(store, "a.png")["pawtag:species"], tags(store, "a.png").get("pawtag:corrected")) == ("red", None)


async def test_a_correction_that_a_person_writes_into_tags_survives(store, tmp_path):
    """With the console: the label, and the group that it corrects."""
    put(store, "a.png", plain(RED))
    await scan(store, tmp_path)
    mine = tags(store, "a.png") | {"pawtag:species": "green", "pawtag:corrected": "species"}
    mine["pawtag:fingerprint"] = "older." + mine["pawtag:fingerprint"].partition(".")[2]
    tag_set = [{"Key": name, "Value": value} for name, value in mine.items()]
    store.s3.put_object_tagging(Bucket=BUCKET, Key="a.png", Tagging={"TagSet": tag_set})
    await scan(store, tmp_path / "again")
    found = tags(store, "a.png")
    assert (found["pawtag:species"], found["pawtag:corrected"]) == ("green", "species")
    assert found["pawtag:fingerprint"].startswith("colours.")


@pytest.mark.parametrize("chosen", [("coat",), ("species",), ("score",)])
async def test_a_correction_survives_where_only_some_tags_are_written(store, tmp_path, chosen):
    """The tag of a corrected group is what keeps it."""
    put(store, "a.png", plain(RED))
    settings = settings_for(store, state=tmp_path, tags=chosen)
    await correct(settings, f"s3://{BUCKET}/a.png", {"species": ["green"], "coat": []})
    await correct(settings, f"s3://{BUCKET}/a.png", {}, fingerprint="newer")
    found = tags(store, "a.png")
    assert (found["pawtag:species"], found["pawtag:coat"]) == ("green", "none")


async def test_a_second_correction_does_not_keep_what_the_first_one_dropped(settings):
    """The model's other tags come back with the right species."""
    path = old(settings.folder.path / "a.png", plain(RED))
    await tag_folder(settings.folder.path, settings)
    record = read(path)
    record["tags"].append({"label": "soft", "group": "feel", "score": 0.9})
    record["scores"]["feel"] = {"soft": 0.9}
    path.with_name("a.png.json").write_text(json.dumps(record | {"corrected": {"species": ["blue"]}}))
    engine = ColourEngine()
    await correct(settings, path, {"species": ["green"]}, model=engine)
    assert engine.batches == [1]


async def test_a_record_of_an_object_is_no_photo_to_correct(store, tmp_path):
    """Its name says so, as that of a file does."""
    put(store, "a.png.json", b"{}")
    with pytest.raises(ConfigError, match="not that of a photo"):
        await correct(settings_for(store, state=tmp_path), f"s3://{BUCKET}/a.png.json", {"species": ["green"]})


async def test_an_object_that_the_fallback_corrects_is_tagged_again_later(store, tmp_path):
    """Nothing else would name it."""
    put(store, "a.png", plain(RED))
    fallback = colour_tagger(name=ModelInfo(id="embedded", fallback=True, wanted="colours")).identity
    async with opened(settings_for(store), tmp_path) as (access, _, database):
        await access.owe_retag(f"s3://{BUCKET}/a.png", fallback, database)
        await access.owe_retag(str(tmp_path / "a.png"), fallback, database)
        assert database.quick.execute("SELECT uri, reason FROM owed") == [(f"s3://{BUCKET}/a.png", "retag")]


async def test_one_faulty_path_does_not_hide_the_others(settings, monkeypatch):
    """Each has its line."""
    fine, odd = old(settings.folder.path / "a.png"), old(settings.folder.path / "b.png")
    look = Sidecars.look

    def fail(sidecars, ref):
        if ref.uri.endswith("b.png"):
            raise TemporaryError("The disk does not answer.")
        return look(sidecars, ref)

    monkeypatch.setattr(Sidecars, "look", fail)
    found = await explain(settings, odd, fine)
    assert (found[0].state, found[0].reason) == ("unknown", "The disk does not answer.")
    assert found[1].uri == str(fine)


async def test_a_correction_by_hand_makes_the_record_stale(settings):
    """Until the next scan the tags do not follow it."""
    path = old(settings.folder.path / "a.png")
    await tag_folder(settings.folder.path, settings)
    path.with_name("a.png.json").write_text(json.dumps(read(path) | {"corrected": {"species": ["green"]}}))
    (found,) = await explain(settings, path)
    assert (found.state, found.reason) == ("stale", "Its tags do not follow the correction.")


async def test_a_record_with_a_slip_is_explained(settings):
    """A person looks for the correction that one comma too many has hidden."""
    photo = old(settings.folder.path / "a.png")
    await correct(settings, photo, {"species": ["green"]})
    path = photo.parent / "a.png.json"
    path.write_text(path.read_text().replace('"species": [', '"species": [,', 1))
    [found] = await explain(settings, photo)
    assert found.state == "new"
    assert "is not JSON" in found.reason
