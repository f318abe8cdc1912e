"""Writing measured values into the settings file, all else in it left as it is."""

from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from pawtag.config.loading import find_settings_file
from pawtag.domain.errors import ConfigError
from pawtag.files import write_atomically


def write_model_settings(file: Path | None, values: dict[str, float]) -> Path:
    """Put `values` into the section [model] of the settings file in force; return its path. Raises ConfigError."""
    path = find_settings_file(file)
    if path is None:
        raise ConfigError("There is no settings file to write to: make config/pawtag.toml, or name one with --config.")
    try:
        document = tomlkit.parse(path.read_text("utf-8-sig"))
        section = document.setdefault("model", tomlkit.table())
        for name, value in values.items():
            section[name] = value
        write_atomically(path, tomlkit.dumps(document).encode())
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise ConfigError(f"The settings file {path} cannot be written: {error}.") from error
    return path
