"""Suspects: photos that were in flight when a process ended."""

import pytest

from pawtag.domain.errors import PermanentError
from pawtag.pipeline.suspects import Suspects


async def test_I09_a_suspect_is_examined_once_and_others_never():
    """One that kills is refused; an innocent one is none any more."""
    tried = []

    def survives(data: bytes) -> bool:
        tried.append(data)
        return data != b"kills"

    suspects = Suspects(["a", "b"], survives)
    await suspects.examine("c", b"never tried")
    await suspects.examine("a", b"innocent")
    await suspects.examine("a", b"again")
    with pytest.raises(PermanentError) as error:
        await suspects.examine("b", b"kills")
    assert error.value.code == "killed-the-daemon"
    assert tried == [b"innocent", b"kills"]
