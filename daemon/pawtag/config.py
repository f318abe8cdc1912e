"""The settings: one tree from defaults, a TOML file, the environment and the command line; later wins."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from pawtag.errors import ConfigError

PREFIX, NESTING = "PAWTAG_", "__"
FILE_VARIABLE = "PAWTAG_CONFIG"
DEFAULT_FILE = Path("config/pawtag.toml")
EMBEDDED = "embedded"
SECRETS = ("server.api_key",)
MIB = 1024 * 1024

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Score = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the tree: frozen, and a name that it does not have is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ModelSettings(Section):
    """Which model tags."""

    id: str = "openai/clip-vit-base-patch32"
    """A hub id, a checkpoint folder, or "embedded" for the model that ships."""
    revision: str | None = None
    """The hub revision; the pinned one of the default model where it is not set."""
    fallback: Literal["embedded", "none"] = "embedded"
    """What serves while the wanted model is not there: "embedded", or "none" for an error."""
    hub: bool = True
    """Whether the model hub may be asked; false: never connects. (It is not asked yet.)"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the model runs: "auto" takes a GPU where there is one."""
    engine: Literal["auto", "torch"] = "auto"
    """What runs the model."""
    cache_dir: Path = platformdirs.user_cache_path("pawtag")
    """What can be computed again: text embeddings, known answers."""


class LabelSettings(Section):
    """What it looks for."""

    file: Path | None = None
    """A labels.toml of your own."""
    tag_threshold: Score | None = None
    """From which score on the best label is a tag; by default what was measured for the model."""
    min_score: Score = 0.01
    """POST /tag lists labels from this score on."""


class FolderSettings(Section):
    """The folder that is watched."""

    path: Path | None = None
    """The folder; ./photos where no source is set."""
    recursive: bool = True
    """Whether its subfolders are watched too."""
    observer: Literal["auto", "native", "polling"] = "auto"
    """How changes are noticed: native events, or polling for network shares."""
    settle_s: Seconds = 1.0
    """A file that was closed or moved in is finished after this long without a change."""
    quiet_s: Seconds = 5.0
    """Any other new file is finished after this long without a change."""
    rescan_s: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 300.0
    """How often the whole folder is compared with its sidecars."""
    patterns: tuple[str, ...] = tuple(
        f"*.{suffix}"
        for suffix in [
            "jpg",
            "jpeg",
            "jpe",
            "jfif",
            "png",
            "apng",
            "webp",
            "gif",
            "bmp",
            "dib",
            "tif",
            "tiff",
            "heic",
            "heif",
            "hif",
            "avif",
            "mpo",
        ]
    )
    """Which names are photos, whatever their case."""


class SidecarSettings(Section):
    """Where a folder's records go."""

    dir: Path | None = None
    """A mirror tree for the sidecars, for photo folders that cannot be written."""


class StateSettings(Section):
    """What is kept between runs."""

    dir: Path = platformdirs.user_state_path("pawtag")
    """Notes of what is in hand; can be thrown away. (Nothing is kept yet.)"""


class ServerSettings(Section):
    """The embedded HTTP server."""

    host: str = "127.0.0.1"
    """The address to answer on; anything but loopback should have an api_key."""
    port: Annotated[int, Field(ge=0, le=65535)] = 7860
    """The port; 0 takes a free one."""
    api_key: SecretStr | None = None
    """Asked for as "Authorization: Bearer ..." where it is set."""
    allowed_hosts: tuple[str, ...] = ()
    """The Host names answered to; empty: loopback's own names on loopback, any elsewhere."""
    max_upload_bytes: Count = 50 * MIB
    """The largest request body."""
    read_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    """How long a request's body may take to arrive."""


class LimitSettings(Section):
    """What a photo and the daemon may take."""

    max_pixels: Count = 50_000_000
    """The largest picture; a baseline JPEG counts as it is decoded, reduced."""
    max_file_bytes: Count = 200 * MIB
    """The largest file."""
    threads: Count = min(4, os.cpu_count() or 1)
    """Threads that decode, and threads that compute."""
    in_hand: Count = 32
    """Photos of the folder that are worked on at once."""
    waiting: Count = 64
    """Requests that may wait; one more is answered 503."""
    batch_size: Count = 8
    """Photos that the model takes at once."""
    batch_wait_s: Seconds = 0.005
    """How long a photo waits for company."""


class LogSettings(Section):
    """What the daemon says, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """From which level on."""
    format: Literal["auto", "plain", "json"] = "auto"
    """Lines for people or for programs; auto: plain on a terminal."""


class Settings(BaseSettings):
    """All settings. Frozen; made by `load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTING,
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )
    model: ModelSettings = ModelSettings()
    labels: LabelSettings = LabelSettings()
    folder: FolderSettings = FolderSettings()
    sidecar: SidecarSettings = SidecarSettings()
    state: StateSettings = StateSettings()
    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()


def load(file: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """The settings in force: `file` (else PAWTAG_CONFIG, else ./config/pawtag.toml), environment, `overrides`.

    Raises ConfigError that names the setting, what is wrong with it, and what is allowed.
    """
    file = file or _file_from_environment()
    document = _read(file) if file else {}
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
            return init_settings, env_settings, InitSettingsSource(settings_cls, document)

    given: dict[str, Any] = {name: dict(values) for name, values in (overrides or {}).items()}
    try:
        return Loaded(**given)
    except ValidationError as error:
        raise ConfigError(_explain(error, file)) from error
    except SettingsError as error:
        raise ConfigError(f"The environment holds a setting that is no JSON, as lists must be: {error}.") from error


def _file_from_environment() -> Path | None:
    if named := os.environ.get(FILE_VARIABLE):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def _read(file: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read_text("utf-8"))
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
    ):
        _anchor(document.get(section), name, folder)
    model = document.get("model")
    if isinstance(model, dict) and str(model.get("id", "")).startswith((".", "~")):
        _anchor(model, "id", folder)


def _anchor(section: Any, name: str, folder: Path) -> None:
    if isinstance(section, dict) and isinstance(section.get(name), str):
        section[name] = str(folder / Path(section[name]).expanduser())


def _check_environment() -> None:
    """A misspelt variable is an error: pydantic-settings passes over sections that it does not know."""
    for variable in os.environ:
        upper = variable.upper()
        if not upper.startswith(PREFIX) or NESTING not in upper:
            continue
        section = upper.removeprefix(PREFIX).split(NESTING)[0].lower()
        if section not in Settings.model_fields:
            allowed = ", ".join(sorted(Settings.model_fields))
            raise ConfigError(
                f"The environment variable {variable} names no section of the settings; there are {allowed}."
            )


def _explain(error: ValidationError, file: Path | None) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    where = f" (from {file}, the environment or the command line)" if file else ""
    if first["type"] != "extra_forbidden":
        shown = "" if name in SECRETS else f"; it is {first['input']!r}"
        return f"The setting {name} is wrong{where}: {first['msg']}{shown}."
    section = Settings.model_fields.get(str(first["loc"][0]))
    allowed = section.annotation.model_fields if section and len(first["loc"]) > 1 else Settings.model_fields  # type: ignore[union-attr]
    return f"There is no setting {name}{where}; allowed are {', '.join(sorted(allowed))}."
