"""Photos that are never whole when they are read."""

from pawtag.folder.restless import MAX_PATIENT, RestlessPhotos


def test_F24_a_photo_that_is_never_whole_is_named_once_and_looked_at_less_often(caplog):
    """The first times at the pace that is asked for; then at growing intervals, up to five minutes."""
    photos = RestlessPhotos()
    delays = [photos.stretch("a.jpg", 2.0) for _ in range(20)]
    assert delays[: MAX_PATIENT - 1] == [2.0] * (MAX_PATIENT - 1)
    assert delays[-1] == 300.0
    assert delays == sorted(delays)
    assert caplog.text.count("a.jpg was incomplete") == 1


def test_a_photo_that_was_whole_is_forgotten(caplog):
    """It is named again only if it starts again."""
    photos = RestlessPhotos()
    for _ in range(2):
        for _ in range(MAX_PATIENT):
            photos.stretch("a.jpg", 2.0)
        photos.forget("a.jpg")
    assert photos.named == set()
    assert caplog.text.count("a.jpg was incomplete") == 2
