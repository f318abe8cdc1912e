"""What sections of the settings are made of: types, and the reading of paths and secrets."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MIB = 1024 * 1024

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Score = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


def expand(given: Any) -> Any:
    """Replace `~` with the user's home folder, whatever the source of the path. An empty path becomes None."""
    return os.path.expanduser(given) if isinstance(given, str) and given else given or None  # noqa: PTH111 - no Path yet


def strip(given: Any) -> Any:
    """Remove the newline at the end: files of secrets have one, and the output of `echo` too."""
    return given.strip() if isinstance(given, str) else given


def check_origin(given: str) -> str:
    """The origin as a browser sends it: scheme, host and port in lower case, and no path. Raises ValueError."""
    if not re.fullmatch(r"https?://[^/\s?#@]+", given.lower()):
        raise ValueError(f"{given!r} is no origin; write it as https://shelter.example, without a path")
    return given.lower()


def empty_to_none(given: Any) -> Any:
    """An empty value becomes None, so that the environment can unset what the file sets."""
    return None if given == "" else given


def read_file_of(name: str, given: Any) -> Any:
    """The section with the secret from `NAME_file`. Raises ValueError if both are set or the file is unreadable."""
    file = expand(given.get(f"{name}_file")) if isinstance(given, dict) else None
    if not file:
        return given
    if given.get(name):
        raise ValueError(f"{name} and {name}_file are both set; set one")
    try:
        return given | {name: Path(file).read_text("utf-8-sig")}
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}_file {file} cannot be read ({error})") from error


class Section(BaseModel):
    """A section of the settings. It is frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


# An empty path becomes None, so that a container can unset what its image sets.
OptionalPath = Annotated[Path | None, BeforeValidator(expand)]
HomePath = Annotated[Path, BeforeValidator(expand)]
OptionalText = Annotated[str | None, BeforeValidator(empty_to_none)]
