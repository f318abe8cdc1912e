"""The memory of decodes: the estimate holds, and all decodes together stay below the limit."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image as pillow

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


def picture(mode: str) -> pillow.Image:
    ramp = pillow.linear_gradient("L").resize((SIDE, SIDE))
    rgb = pillow.merge("RGB", (ramp, ramp.rotate(90), ramp))
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
def test_I03_a_decode_takes_no_more_than_its_estimate(tmp_path, name, mode, options):
    """25 megapixels in each format, measured in a process of its own."""
    picture(mode).save(tmp_path / name, **options)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / name], capture_output=True, text=True, timeout=50, check=True
    )
    estimate_mb, peak_mb = map(float, done.stdout.split())
    assert peak_mb <= 1.1 * estimate_mb + 8
    assert estimate_mb <= 4 * peak_mb + 20, "an estimate that is too high lets one photo wait for another"


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


def test_a_picture_larger_than_the_limit_is_decoded_alone():
    """It waits until nothing else is decoded, and is not refused."""
    limiter = DecodeLimiter(100 * MB)
    small, end_small = start(limiter, DecodeCost(MB, 1))
    assert small.wait(5)
    huge, end_huge = start(limiter, DecodeCost(500 * MB, 1))
    assert not huge.wait(0.1)
    end_small.set()
    assert huge.wait(5)
    end_huge.set()


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
