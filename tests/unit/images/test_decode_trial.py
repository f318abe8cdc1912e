"""Decoding in a process of its own."""

import sys

import pytest
from PIL import Image as Pillow

from pawtag.images import ImageLimits, decode_trial
from pawtag.images.decode_trial import survives_decoding
from support.pictures import LIMITS, encode_picture, plain

KILLER = """
import os, sys, time
data = sys.stdin.buffer.read()
{"k": lambda: os.kill(os.getpid(), 9), "s": lambda: os.abort(), "h": lambda: time.sleep(60)}[chr(data[0])]()
"""


@pytest.mark.parametrize("data", [plain(), b"broken", b""])
def test_I09_a_photo_and_a_bad_photo_are_survived(data):
    """Whatever the decoder raises is no death."""
    assert survives_decoding(data, LIMITS, 16, 100_000_000)


@pytest.mark.parametrize("data", [b"k", b"s", b"h"])
def test_I09_a_death_and_a_hang_are_told(tmp_path, monkeypatch, data):
    """By a signal, by an abort, by no end: with a decoder that does so."""
    program = tmp_path / "python"
    script = tmp_path / "killer.py"
    script.write_text(KILLER)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}"\n')
    program.chmod(0o755)
    monkeypatch.setattr(decode_trial.sys, "executable", str(program))
    assert not survives_decoding(data, LIMITS, 16, 100_000_000, timeout_s=2)


def test_where_no_process_can_be_started_nothing_is_blamed(monkeypatch):
    """A lack of processes is no fault of a photo."""
    monkeypatch.setattr(decode_trial.sys, "executable", "/nowhere")
    assert survives_decoding(plain(), LIMITS, 16, 100_000_000)


def test_I09_a_picture_that_takes_all_memory_is_told():
    """Without a limit it would end the daemon again."""
    limits = ImageLimits(max_bytes=10**8, max_pixels=10**9)
    large = encode_picture(Pillow.new("RGB", (12_000, 12_000)), "PNG")
    assert not survives_decoding(large, limits, 224, 700_000_000, own_bytes=-500_000_000)
    assert survives_decoding(plain(), limits, 224, 700_000_000, own_bytes=-500_000_000)


def test_I09_a_picture_that_the_daemon_refuses_is_refused():
    """It takes more memory than the daemon grants, so no process dies of it."""
    limits = ImageLimits(max_bytes=10**8, max_pixels=10**9)
    large = encode_picture(Pillow.new("RGB", (12_000, 12_000)), "PNG")
    assert survives_decoding(large, limits, 224, 100_000_000, own_bytes=200_000_000)
