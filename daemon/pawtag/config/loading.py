"""Where the settings come from: defaults, a TOML file, the environment, the command line; later wins."""

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsError

from pawtag.config.tree import ENVIRONMENT_PREFIX, NESTING, Settings
from pawtag.domain.errors import ConfigError

SETTINGS_FILE_VARIABLE = "PAWTAG_CONFIG"
DEFAULT_SETTINGS_FILE = Path("config/pawtag.toml")
SECRETS = ("server.api_key", "webhook.secret")


def load_settings(file: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """The settings in force: `file` (else PAWTAG_CONFIG, else ./config/pawtag.toml), environment, `overrides`.

    Raises ConfigError that names the setting, what is wrong with it, and what is allowed.
    """
    file = find_settings_file(file)
    document = _read_file(file) if file else {}
    _check_environment()

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env is read
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            others = (InitSettingsSource(settings_cls, values) for values in (document, _read_aws_environment()))
            return init_settings, env_settings, *others

    given: dict[str, Any] = {name: dict(values) for name, values in (overrides or {}).items()}
    try:
        return Loaded(**given)
    except ValidationError as error:
        raise ConfigError(_explain(error, file)) from error
    except SettingsError as error:
        raise ConfigError(_explain_environment(error)) from error


def find_settings_file(given: Path | None) -> Path | None:
    """The settings file in force: `given`, else that of PAWTAG_CONFIG, else ./config/pawtag.toml if it exists."""
    if given:
        return given
    if named := os.environ.get(SETTINGS_FILE_VARIABLE):
        return Path(named)
    return DEFAULT_SETTINGS_FILE if DEFAULT_SETTINGS_FILE.is_file() else None


def describe_settings_file(given: Path | None) -> str:
    """Which settings file is in force, for people."""
    file = find_settings_file(given)
    return f"settings from {file}" if file else f"no settings file: there is no {DEFAULT_SETTINGS_FILE} here"


def _read_aws_environment() -> dict[str, Any]:
    """The settings that other AWS tools read from the environment, but boto3 does not."""
    region = os.environ.get("AWS_REGION")
    return {"s3": {"region": region}} if region else {}


def _read_file(file: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read_text("utf-8-sig"))  # Windows editors begin with a mark
    except OSError as error:
        raise ConfigError(f"The settings file {file} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"The settings file {file} is not valid TOML: {error}.") from error
    _anchor_paths(document, file.resolve().parent)
    return document


def _anchor_paths(document: dict[str, Any], folder: Path) -> None:
    """Make the relative paths of a file relative to that file."""
    for section, name in (
        ("labels", "file"),
        ("folder", "path"),
        ("sidecar", "dir"),
        ("state", "dir"),
        ("model", "cache_dir"),
        ("server", "api_key_file"),
        ("webhook", "secret_file"),
    ):
        _anchor(document.get(section), name, folder)
    model = document.get("model")
    if isinstance(model, dict) and str(model.get("id", "")).startswith((".", "~")):
        _anchor(model, "id", folder)


def _anchor(section: Any, name: str, folder: Path) -> None:
    if isinstance(section, dict) and isinstance(section.get(name), str) and section[name]:
        section[name] = str(folder / Path(section[name]).expanduser())


def _check_environment() -> None:
    """A misspelt variable is an error: pydantic-settings ignores sections that it does not know."""
    names = [f"{section}{NESTING}{name}" for section, name in _list_settings()]
    single_underscores = {
        f"{ENVIRONMENT_PREFIX}{name.replace(NESTING, '_')}".upper(): f"{ENVIRONMENT_PREFIX}{name}".upper()
        for name in names
    }
    for variable in os.environ:
        upper = variable.upper()
        if right := single_underscores.get(upper):
            raise ConfigError(f"The environment variable {variable} has no effect; write {right}.")
        if not upper.startswith(ENVIRONMENT_PREFIX) or NESTING not in upper:
            continue
        section = upper.removeprefix(ENVIRONMENT_PREFIX).split(NESTING)[0].lower()
        if section not in Settings.model_fields:
            allowed = ", ".join(sorted(Settings.model_fields))
            raise ConfigError(
                f"The environment variable {variable} names no section of the settings; there are {allowed}."
            )


def _explain_environment(error: SettingsError) -> str:
    """pydantic-settings names only the section of a list that is not JSON."""
    lists = {f"{ENVIRONMENT_PREFIX}{section}{NESTING}{name}".upper() for section, name in _list_settings(tuple)}
    for variable, value in os.environ.items():
        if variable.upper() in lists and not _is_json(value):
            return f'The environment variable {variable} is not valid JSON; write a list as ["a", "b"].'
    return f"A setting in the environment is not valid JSON, which a list must be: {error}."


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _list_settings(kind: type | None = None) -> Iterator[tuple[str, str]]:
    """Section and name of each setting, or of those that are of one generic type."""
    for section, field in Settings.model_fields.items():
        for name, setting in field.annotation.model_fields.items():  # type: ignore[union-attr]
            if kind in (None, get_origin(setting.annotation)):
                yield section, name


def _explain(error: ValidationError, file: Path | None) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    where = f" (from {file}, the environment or the command line)" if file else ""
    if first["type"] != "extra_forbidden":
        is_shown = name not in SECRETS and not isinstance(first["input"], dict)  # a section may hold a secret
        shown = f"; it is {first['input']!r}" if is_shown else ""
        return f"The setting {name} is wrong{where}: {first['msg']}{shown}."
    section = Settings.model_fields.get(str(first["loc"][0]))
    allowed = section.annotation.model_fields if section and len(first["loc"]) > 1 else Settings.model_fields  # type: ignore[union-attr]
    return f"There is no setting {name}{where}; allowed are {', '.join(sorted(allowed))}."
