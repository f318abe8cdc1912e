"""Convert the embedded model for OpenVINO, and embed the default labels: what lets it serve without torch.

    python scripts/embedded/convert.py

Run it after build.py, and after a change of config/labels.toml or of the conversion. Writes facts.json, openvino/ and
text/ next to the checkpoint.
"""

import shutil
import tempfile
from pathlib import Path

from pawtag.config import LimitSettings
from pawtag.config.labels_file import load_labels
from pawtag.domain.records import ModelInfo
from pawtag.inference import model_cache
from pawtag.inference.checkpoint import EMBEDDED_FOLDER
from pawtag.inference.engines import openvino
from pawtag.inference.preparation import Preparation, PreparationRequest
from pawtag.inference.text_cache import FOLDER


def main() -> None:
    """Prepare the checkpoint as a first start does, and keep what does not depend on the processor."""
    shutil.rmtree(model_cache.SHIPPED_TOWER, ignore_errors=True)
    shutil.rmtree(EMBEDDED_FOLDER / FOLDER, ignore_errors=True)
    model_cache.SHIPPED_FACTS.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as work:
        request = PreparationRequest(
            folder=EMBEDDED_FOLDER,
            model=ModelInfo(id="embedded"),
            labels=load_labels(None),
            cache=Path(work),
            precision="float32",
            threads=LimitSettings().threads,
        )
        Preparation(request, print).run()
        cache = model_cache.ModelCache(request.cache)
        facts = cache.read_facts(request.checkpoint)
        tower = facts and cache.find_converted(facts, openvino.VERSION)
        if facts is None or tower is None:
            raise SystemExit("the embedded model cannot be converted")
        shutil.copytree(tower, model_cache.SHIPPED_TOWER)
        shutil.copytree(request.cache / FOLDER, EMBEDDED_FOLDER / FOLDER)
        model_cache.SHIPPED_FACTS.write_bytes(facts.to_json() + b"\n")


if __name__ == "__main__":
    main()
