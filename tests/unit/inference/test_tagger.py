"""The tagger: a model that stops to give numbers is no fault of the photos."""

import asyncio
import io
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pawtag.config import LimitSettings
from pawtag.domain.errors import PermanentError
from pawtag.domain.labels import Thresholds
from pawtag.domain.records import describe_bytes
from pawtag.images import decode
from pawtag.inference.tagger import Tagger
from pawtag.server.thumbnail_cache import MIN_INTERVAL_S, ThumbnailCache
from support.doubles import COLOURS, ColourEngine, colour_model, colour_tagger
from support.pictures import GREEN, RED, encode_picture, plain


class BrokenEngine(ColourEngine):
    """Gives no numbers while it is broken."""

    is_broken = True

    def embed(self, batch):
        found = super().embed(batch)
        return np.full_like(found, np.nan) if self.is_broken else found


async def test_M06_three_photos_without_numbers_fail_readiness_until_one_succeeds():
    """Each gets its code; the third in a row says that the model is broken."""
    engine = BrokenEngine()
    async with colour_tagger(engine).run() as tagger:
        for number in range(3):
            assert tagger.failure is None, number
            with pytest.raises(PermanentError) as error:
                await tagger.tag(plain())
            assert error.value.code == "bad-score"
        assert "failed on the last 3 photos" in tagger.failure
        engine.is_broken = False
        await tagger.tag(plain())
        assert tagger.failure is None


async def test_M06_bad_photos_do_not_fail_readiness():
    """Broken files are no fault of the model, and do not end a row."""
    engine = BrokenEngine()
    async with colour_tagger(engine).run() as tagger:
        for data in (plain(), b"broken", plain(), b"broken"):
            with pytest.raises(PermanentError):
                await tagger.tag(data)
        assert tagger.failure is None


async def test_I09_a_decoder_that_hangs_fails_readiness(monkeypatch):
    """Its thread cannot be ended; whoever watches the daemon restarts it, and the photo is examined then."""
    ends = threading.Event()

    def hang(data, *_given):
        ends.wait(20)
        return decode(data, *_given)

    monkeypatch.setattr("pawtag.inference.tagger.decode", hang)
    monkeypatch.setattr("pawtag.inference.tagger.MAX_DECODE_S", 0.2)
    async with colour_tagger(ColourEngine()).run() as tagger:
        tagging = asyncio.create_task(tagger.tag(plain()))
        async with asyncio.timeout(10):
            while not tagger.failure:
                await asyncio.sleep(0.02)
        assert "takes more than" in tagger.failure
        ends.set()
        assert (await tagging).status == "tagged"
        assert tagger.failure is None


async def test_two_animals_side_by_side_are_both_tagged_where_parts_are_looked_at():
    """The model gets the whole and its quarters; else the whole alone."""
    picture = Image.new("RGB", (200, 100), RED)
    picture.paste(GREEN, (100, 0, 200, 100))
    several = COLOURS.model_copy(
        update={"groups": {"species": COLOURS.groups["species"].model_copy(update={"multi_label": True})}}
    )
    found = {}
    for parts in (None, 0.98):
        engine = ColourEngine()
        model = colour_model(engine, labels=several, thresholds=Thresholds(secondary=0.6, parts=parts))
        async with Tagger(model, LimitSettings()).run() as tagger:
            found[parts] = sorted(tag.label for tag in (await tagger.tag(encode_picture(picture))).tags)
        assert sum(engine.batches) == (1 if parts is None else 5)
    assert len(found[None]) < 2
    assert found[0.98] == ["green", "red"]


async def test_a_thumbnail_that_is_wanted_is_made_of_the_picture_that_is_decoded_anyway():
    """Of photos with a place alone; where nobody wants one, none is made."""
    watched = [False]
    thumbnails = ThumbnailCache(lambda: watched[0])
    data = plain(size=(640, 400), kind="JPEG")
    known, engine = describe_bytes(data, "a.jpg"), ColourEngine()
    engine.spec = replace(engine.spec, resize=224)
    async with colour_tagger(engine).run() as tagger:
        tagger.thumbnails = thumbnails
        await tagger.tag(data, photo=known)
        assert thumbnails.get(known.sha256) is None
        watched[0] = True
        await asyncio.sleep(MIN_INTERVAL_S)
        await tagger.tag(data)
        assert thumbnails.get(known.sha256) is None
        await tagger.tag(data, photo=known)
    with Image.open(io.BytesIO(thumbnails.get(known.sha256))) as thumbnail:
        assert thumbnail.size == (320, 200)


async def test_a_picture_that_is_smaller_than_its_thumbnail_makes_none():
    """It was reduced for a model with a small input."""
    thumbnails, data = ThumbnailCache(lambda: True), plain(size=(640, 400), kind="JPEG")
    known = describe_bytes(data, "a.jpg")
    async with colour_tagger().run() as tagger:
        tagger.thumbnails = thumbnails
        await tagger.tag(data, photo=known)
    assert thumbnails.get(known.sha256) is None


def test_thumbnails_of_a_fast_backlog_are_not_wanted():
    """Nobody has time to see them."""
    thumbnails = ThumbnailCache(lambda: True)
    assert [thumbnails.wants() for _ in range(5)] == [True, False, False, False, False]
