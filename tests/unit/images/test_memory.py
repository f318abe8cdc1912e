"""The memory of decodes: the estimate holds, and all decodes together stay below the limit."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image as pillow

from pawtag.domain.errors import PermanentError
from pawtag.images.memory import DecodeCost, DecodeLimiter

MB = 1_000_000
SIDE = 5000
MEASURE = """
import sys
from contextlib import contextmanager
from pathlib import Path
from pawtag.images import ImageLimits, decode
def read(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0]) / 1000
@contextmanager
def reserve(cost):
    print(cost.size_bytes / 1e6)
    yield
data = Path(sys.argv[1]).read_bytes()
Path("/proc/self/clear_refs").write_text("5")
before = read("VmRSS")
decode(data, ImageLimits(10**9, 10**8), 256, reserve)
print(read("VmHWM") - before)
"""

REFUSE = """
import sys
from pathlib import Path
from pawtag.images import ImageLimits, decode
from pawtag.domain.errors import PermanentError
data = Path(sys.argv[1]).read_bytes()
Path("/proc/self/clear_refs").write_text("5")
def read(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0]) / 1000
before = read("VmRSS")
try:
    decode(data, ImageLimits(10**9, 10**6), 256)
except PermanentError as error:
    print(error.code, read("VmHWM") - before)
"""

RETAIN = """
from pathlib import Path
import sys
from concurrent.futures import ThreadPoolExecutor
from pawtag.images import ImageLimits, decode, return_freed_blocks
def read():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1000
data, limits = Path(sys.argv[1]).read_bytes(), ImageLimits(10**9, 10**8)
return_freed_blocks()
with ThreadPoolExecutor(4) as threads:
    before = read()
    list(threads.map(lambda _: decode(data, limits, 256), range(4)))
    print(read() - before)
"""


def picture(mode: str, size: tuple[int, int] = (SIDE, SIDE)) -> pillow.Image:
    ramp = pillow.linear_gradient("L").resize(size)
    rgb = pillow.merge("RGB", (ramp, ramp.transpose(pillow.Transpose.ROTATE_180), ramp))
    if mode == "I;16":
        return pillow.fromarray(np.asarray(ramp).astype(np.uint16) * 257)
    if mode == "RGBA":
        rgb.putalpha(ramp)
    return rgb.convert(mode)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.png", "RGBA", {"compress_level": 1}),
        ("p.png", "P", {"compress_level": 1}),
        ("i16.png", "I;16", {"compress_level": 1}),
        ("cmyk.tif", "CMYK", {"compression": "tiff_lzw"}),
        ("baseline.jpg", "RGB", {}),
        ("progressive.jpg", "RGB", {"progressive": True, "subsampling": 0}),
        ("a.webp", "RGB", {"method": 0, "quality": 40}),
        ("a.avif", "RGB", {"speed": 10, "quality": 40}),
    ],
)
@pytest.mark.parametrize("size", [(SIDE, SIDE), (30_000, 800)], ids=["square", "strip"])
def test_I03_a_decode_takes_no_more_than_its_estimate(tmp_path, name, mode, options, size):
    """25 megapixels in each format, measured in a process of its own; WebP has no side of more than 16,383."""
    size = (16_000, 800) if name.endswith("webp") and size != (SIDE, SIDE) else size
    picture(mode, size).save(tmp_path / name, **options)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / name], capture_output=True, text=True, timeout=50, check=True
    )
    estimate_mb, peak_mb = map(float, done.stdout.split())
    assert peak_mb <= 1.1 * estimate_mb + 8
    assert estimate_mb <= 4 * peak_mb + 20, "an estimate that is too high lets one photo wait for another"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("extension", [b"", b"!\xf9\x04\x08\0\0\0\0"], ids=["plain", "restored"])
def test_I03_a_frame_that_is_larger_than_the_screen_is_refused_at_little_cost(tmp_path, extension):
    """Pillow reserves the whole of it when it opens a GIF whose first frame is to be wiped: 1.6 GB here."""
    screen = b"GIF89a" + (8).to_bytes(2, "little") * 2 + b"\x80\0\0" + bytes(6)
    frame = b"," + bytes(4) + (40_000).to_bytes(2, "little") * 2 + b"\0" + b"\x02\x02\x44\x01\0"
    (tmp_path / "a.gif").write_bytes(screen + extension + frame + b";")
    done = subprocess.run(
        [sys.executable, "-c", REFUSE, tmp_path / "a.gif"], capture_output=True, text=True, timeout=50, check=True
    )
    code, cost_mb = done.stdout.split()
    assert code == "too-many-pixels"
    assert float(cost_mb) < 50


def start(limiter: DecodeLimiter, cost: DecodeCost, *, first: bool = False) -> tuple[threading.Event, threading.Event]:
    """A thread that holds the cost: an event for when it has it, and one to end it."""
    held, end = threading.Event(), threading.Event()

    def run():
        with limiter.acquire(cost, first=first):
            held.set()
            end.wait(10)

    threading.Thread(target=run, daemon=True).start()
    return held, end


def test_decodes_wait_for_memory():
    """The third waits until one of the two that fit is done."""
    limiter, cost = DecodeLimiter(100 * MB), DecodeCost(50 * MB, 1)
    (first, end_first), (second, end_second) = start(limiter, cost), start(limiter, cost)
    assert first.wait(5)
    assert second.wait(5)
    third, end_third = start(limiter, cost)
    assert not third.wait(0.1)
    end_first.set()
    assert third.wait(5)
    end_second.set()
    end_third.set()


def test_one_large_picture_at_a_time():
    """Over 12 megapixels, however little memory each takes; small ones go on beside it."""
    limiter, large = DecodeLimiter(1000 * MB), DecodeCost(MB, 13_000_000)
    held, end = start(limiter, large)
    assert held.wait(5)
    other, end_other = start(limiter, large)
    small, end_small = start(limiter, DecodeCost(MB, 1))
    assert small.wait(5)
    assert not other.wait(0.1)
    end.set()
    assert other.wait(5)
    end_other.set()
    end_small.set()


def test_I03_a_picture_that_takes_more_than_all_memory_is_refused():
    """It is not decoded at all, and the message names the setting."""
    limiter = DecodeLimiter(100 * MB)
    with pytest.raises(PermanentError, match=r"500 MB .* limits\.memory_bytes") as refused:
        limiter.acquire(DecodeCost(500 * MB, 1)).__enter__()
    assert refused.value.code == "too-many-pixels"


def test_an_interactive_request_overtakes_the_backlog():
    """It gets the memory that is freed, although it came later."""
    limiter, cost = DecodeLimiter(100 * MB), DecodeCost(100 * MB, 1)
    running, end = start(limiter, cost)
    assert running.wait(5)
    backlog, end_backlog = start(limiter, cost)
    time.sleep(0.05)
    interactive, end_interactive = start(limiter, cost, first=True)
    time.sleep(0.05)
    end.set()
    assert interactive.wait(5)
    assert not backlog.is_set()
    end_interactive.set()
    assert backlog.wait(5)
    end_backlog.set()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_I03_memory_of_large_pictures_is_given_back(tmp_path):
    """Else each thread keeps what its largest picture took."""
    picture("RGBA", (15_000, 800)).save(tmp_path / "a.png", compress_level=1)
    done = subprocess.run(
        [sys.executable, "-c", RETAIN, tmp_path / "a.png"], capture_output=True, text=True, timeout=100, check=True
    )
    assert float(done.stdout) < 60
