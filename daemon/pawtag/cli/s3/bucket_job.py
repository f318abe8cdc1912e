"""A job over a bucket that can be resumed: `s3 scan` and `s3 enqueue`."""

import argparse
from collections import Counter

from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.errors import ConfigError
from pawtag.inference.loaded_model import LoadedModel
from pawtag.inference.model_loader import load_model
from pawtag.s3.listing import ARCHIVE_CLASSES
from pawtag.state.resume_point import ResumePoint

NO_STORAGE_CLASSES = frozenset({"not-a-photo", "not-the-newest", "sent", "current", "unchecked"})


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every job."""
    parser.add_argument("uri", metavar="s3://BUCKET/PREFIX", help="the photos")
    parser.add_argument(
        "--storage-class",
        action="append",
        default=[],
        metavar="CLASS",
        help="include photos of this colder storage class; may be repeated",
    )
    parser.add_argument("--restart", action="store_true", help="begin at the first key, not where the last run ended")


def select_bucket(settings: Settings, uri: tuple[str, str]) -> Settings:
    """The settings, with s3.bucket and s3.prefix of that URI."""
    return settings.model_copy(update={"s3": settings.s3.model_copy(update={"bucket": uri[0], "prefix": uri[1]})})


def load_wanted_model(settings: Settings) -> LoadedModel:
    """The model that the settings ask for. Raises ConfigError if only its fallback is on this machine.

    Tags of a fallback would stay until the next scan, and each tag that is written costs money.
    """
    loaded = load_model(settings, load_labels(settings.labels.file))
    model = loaded.identity.model
    if model.fallback:
        raise ConfigError(
            f"The model {model.wanted} is not on this machine: run 'pawtag model pull' first, or use --model embedded."
        )
    return loaded


def announce_resume(resume_point: ResumePoint, *, restart: bool) -> None:
    """Print where the job resumes, if it does."""
    if restart:
        resume_point.forget()
    if resume_point.position:
        print(f"resuming after {resume_point.position!r}, saved at {resume_point.saved_at} (--restart: begin again)")


def summarise_skipped(skipped: Counter[str]) -> str:
    """The counts of what is skipped, for people; empty if there is nothing."""
    classes = sorted(set(skipped) - NO_STORAGE_CLASSES)
    parts = [f"{skipped['not-a-photo']} objects are no photos"] if skipped["not-a-photo"] else []
    return ", ".join(parts + [f"{skipped[name]} are in {name}{_describe_access(name)}" for name in classes])


def _describe_access(storage_class: str) -> str:
    return "" if storage_class in ARCHIVE_CLASSES else " (--storage-class reads them)"
