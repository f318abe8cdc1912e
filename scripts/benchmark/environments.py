"""What the benchmark needs on disk, made once: environments, the checkpoint, the photos."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
from PIL import Image

from pawtag.inference import acceptance

SERVICE_PACKAGES = ["fastapi>=0.110,<1", "uvicorn>=0.30,<1", "python-multipart>=0.0.20,<1"]
# Installed without dependencies: torch, transformers, numpy and Pillow come from pawtag's environment.
PEER_PACKAGES = {
    "sentence-transformers": ["sentence-transformers", "scikit-learn", "joblib", "threadpoolctl", "scipy", "narwhals"],
}
SIZES = {"12 MP": (4000, 3000), "640x480": (640, 480)}
HERE = Path(__file__).parent


def make_environment(folder: Path, packages: list[str], *, with_dependencies: bool) -> Path:
    """The Python of an environment with these packages, on top of the packages of this one.

    Raises subprocess.CalledProcessError where they cannot be installed.
    """
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        site = next((folder / "lib").glob("python*/site-packages"))
        (site / "pawtag-environment.pth").write_text(sysconfig.get_path("purelib") + "\n")
        options = [] if with_dependencies else ["--no-deps"]
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *options, *packages]
        subprocess.run(pip, check=True, capture_output=True, text=True, timeout=600)
        (folder / "complete").touch()
    return python


def make_checkpoint(folder: Path) -> Path:
    """The full-size checkpoint of random weights."""
    if not (folder / "preprocessor_config.json").exists():
        subprocess.run([sys.executable, HERE / "checkpoint.py", folder], check=True, capture_output=True, timeout=600)
    return folder


def make_photos(folder: Path, size: str, count: int) -> Path:
    """A folder of `count` different JPEG files of that size, with the noise of a camera."""
    folder = folder / f"{size.replace(' ', '-')}-{count}"
    if folder.is_dir():
        return folder
    work = folder.with_suffix(".new")
    work.mkdir(parents=True, exist_ok=True)
    picture = Image.open(Path(acceptance.__file__).parent / acceptance.PICTURE).convert("RGB").resize(SIZES[size])
    random = np.random.default_rng(0)
    noise = random.normal(0, 6, (SIZES[size][1], SIZES[size][0], 3)).astype(np.float32)
    for number in range(count):
        pixels = np.roll(np.asarray(picture, np.float32), 37 * number, 1) + np.roll(noise, 91 * number, 0)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(work / f"{number:05}.jpg", quality=88)
    work.rename(folder)
    return folder
