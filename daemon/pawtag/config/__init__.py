"""The settings. The only package that reads the environment."""

from pawtag.config.loading import load_settings
from pawtag.config.network import ServerSettings, WebhookSettings
from pawtag.config.tree import (
    EMBEDDED,
    FolderSettings,
    LabelSettings,
    LimitSettings,
    LogSettings,
    ModelSettings,
    S3Settings,
    Settings,
)
from pawtag.config.writing import write_model_settings

__all__ = [
    "EMBEDDED",
    "FolderSettings",
    "LabelSettings",
    "LimitSettings",
    "LogSettings",
    "ModelSettings",
    "S3Settings",
    "ServerSettings",
    "Settings",
    "WebhookSettings",
    "load_settings",
    "write_model_settings",
]
