"""Photos with records, for tests of their sidecars."""

from pawtag.domain.records import ModelInfo, PhotoInfo, SourceInfo, Tag, TagRecord
from pawtag.folder.walk import find_photo
from support.pictures import plain


def photo(folder, name="mimi.jpg"):
    path = folder / name
    path.write_bytes(plain())
    return find_photo(str(path)).ref


def record_for(ref, **changes) -> TagRecord:
    values = {
        "schema": "pawtag.record/1",
        "status": "tagged",
        "photo": PhotoInfo(name="mimi.jpg", bytes=ref.size_bytes, sha256="0" * 64),
        "tags": (Tag(label="cat", group="species", score=0.9),),
        "scores": {"species": {"cat": 0.9, "dog": 0.1}},
        "model": ModelInfo(id="m"),
        "labels": "l",
        "fingerprint": "b",
        "source": SourceInfo(kind="folder", mtime_ns=ref.mtime_ns),
        "tagged_at": "2026-11-23T12:00:00Z",
    }
    return TagRecord(**(values | changes))
