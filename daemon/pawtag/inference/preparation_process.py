"""Preparation of a model in a process of its own, which then ends: torch takes half a gigabyte.

    python -m pawtag.inference.preparation_process     reads the request as JSON from stdin, writes each step to stdout

The process ends when its stdin is closed, so that it does not run longer than its parent.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from typing import Any

from pawtag.domain.errors import ConfigError, ModelError, PawtagError
from pawtag.inference.preparation import OnStep, Preparation, PreparationError, PreparationRequest

NICENESS = 5  # a replacement is prepared while another model serves


def prepare_in_child(request: PreparationRequest, on_step: OnStep) -> None:
    """Prepare in a process of its own; `on_step` gets each step.

    Raises ModelError and ConfigError for a checkpoint or labels that cannot be used, PreparationError for other faults.
    """
    # -P: import nothing from the current folder, which may be the folder of the photos.
    command = [sys.executable, "-P", "-m", __spec__.name if __spec__ else __name__]
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)  # noqa: S603
        with child:
            assert child.stdin and child.stdout  # noqa: PT018 - both are pipes
            with suppress(BrokenPipeError):  # it has ended already; its exit code says more
                child.stdin.write(request.model_dump_json(by_alias=True).encode() + b"\n")
                child.stdin.flush()
            _follow(child.stdout, on_step)
            with suppress(BrokenPipeError):
                child.stdin.close()
        if child.returncode:
            errors.seek(0)
            last_line = (errors.read().decode("utf-8", "replace").strip().splitlines() or ["it said nothing"])[-1]
            raise PreparationError(f"the child process ended with {child.returncode}: {last_line}")


def _follow(lines: Any, on_step: OnStep) -> None:
    for line in lines:
        if not line.startswith(b"{"):
            continue  # a library printed it
        said = json.loads(line)
        if "step" in said:
            on_step(said["step"])
        else:
            kinds: dict[str, type[PawtagError]] = {"config": ConfigError, "passing": PreparationError}
            raise kinds.get(said["kind"], ModelError)(said["error"])


def main() -> None:
    """Prepare what stdin asks for. An error is reported on stdout."""
    request = PreparationRequest.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(NICENESS)
    out, sys.stdout = sys.stdout, sys.stderr  # libraries print

    def say(**said: str) -> None:
        print(json.dumps(said), file=out, flush=True)

    try:
        Preparation(request, lambda step: say(step=step)).run()
    except ConfigError as error:
        say(kind="config", error=str(error))
    except PreparationError as error:
        say(kind="passing", error=str(error))
    except PawtagError as error:
        say(kind="model", error=str(error))
    except OSError as error:
        say(kind="passing", error=f"{error.strerror}: {error.filename}")
    except MemoryError:
        say(kind="passing", error="there is not enough memory")


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
    os._exit(0)  # neither torch's threads nor OpenVINO's are waited for
