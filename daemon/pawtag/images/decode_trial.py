"""Decodes bytes that may have crashed an earlier process. It uses a process of its own, so only that can crash.

`python -m pawtag.images.decode_trial MAX_BYTES MAX_PIXELS SHORTER_SIDE MEMORY_BYTES OWN_BYTES` reads the bytes from
stdin.
"""

import subprocess
import sys

from pawtag.domain.errors import PermanentError
from pawtag.images.decode import ImageLimits, decode
from pawtag.images.memory import DecodeLimiter

TIMEOUT_S = 60.0
# The interpreter and its libraries, besides the pictures.
OWN_MEMORY_BYTES = 1_000_000_000
NO_MEMORY = 70


def survives_decoding(
    data: bytes,
    limits: ImageLimits,
    shorter_side: int,
    memory_bytes: int,
    *,
    own_bytes: int = OWN_MEMORY_BYTES,
    timeout_s: float = TIMEOUT_S,
) -> bool:
    """Whether a process that decodes the bytes, with `memory_bytes` for them, ends by itself and in time. Blocks.

    Bytes that the daemon would refuse are refused in the process, too, and count as harmless. If no process can be
    started, nothing is known, and the bytes count as harmless.
    """
    numbers = (limits.max_bytes, limits.max_pixels, shorter_side, memory_bytes, own_bytes)
    command = [sys.executable, "-P", "-m", __name__, *map(str, numbers)]
    try:
        done = subprocess.run(  # noqa: S603 - this program itself
            command, input=data, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    except OSError:
        return True
    return done.returncode >= 0 and done.returncode != NO_MEMORY  # below 0: a signal ended it


def _main(arguments: list[str]) -> int:
    max_bytes, max_pixels, shorter_side, memory_bytes, own_bytes = map(int, arguments)
    _limit_memory(memory_bytes + own_bytes)
    try:
        limits, reserve = ImageLimits(max_bytes, max_pixels), DecodeLimiter(memory_bytes).acquire
        decode(sys.stdin.buffer.read(), limits, shorter_side, reserve)
    except PermanentError as error:  # a bad photo, which costs itself alone, unless it takes all memory
        return NO_MEMORY if isinstance(error.__cause__, MemoryError) else 0
    return 0


def _limit_memory(size_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_DATA, (size_bytes, size_bytes))


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
