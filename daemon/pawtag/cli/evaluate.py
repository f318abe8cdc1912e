"""pawtag model evaluate: the model on labelled photos, or on photos that people have corrected."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from pawtag import config
from pawtag.app.wiring import DEFAULT_FOLDER, build_sidecars
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.domain.labels import Thresholds
from pawtag.domain.records import PET_GROUP, TagRecord
from pawtag.folder.walk import Walk, read_photo
from pawtag.images import ImageLimits, cut_parts, decode, preprocess
from pawtag.inference import evaluation
from pawtag.inference.correction_report import CorrectionReport, build_correction_report
from pawtag.inference.group_table import build_group_table, format_group_table
from pawtag.inference.loaded_model import LoadedModel
from pawtag.log import escape_unprintable


def add_evaluation_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `model evaluate`."""
    photos = parser.add_mutually_exclusive_group(required=True)
    photos.add_argument(
        "--labelled",
        type=Path,
        metavar="CSV",
        help="a table of photos, with the columns file, species, coat and other groups (docs/models.md)",
    )
    photos.add_argument(
        "--corrections",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="DIR",
        help="the corrections that people made in a folder (default: folder.path)",
    )
    parser.add_argument("--show-errors", action="store_true", help="name each photo with a wrong tag")
    parser.add_argument(
        "--write", action="store_true", help="write the best threshold and temperature into the settings file"
    )


def evaluate(arguments: argparse.Namespace, settings: Settings, loaded: LoadedModel) -> None:
    """Print the accuracy of the model and its best threshold; with `--write`, save it. Raises ConfigError."""
    if arguments.write:
        _check_write(arguments, settings, loaded)
    if arguments.corrections is not None:
        calibrated = _evaluate_corrections(arguments, settings, loaded)
    else:
        calibrated = _evaluate_labelled(arguments, settings, loaded)
    if arguments.write:
        _write(arguments, calibrated)


def _evaluate_labelled(arguments: argparse.Namespace, settings: Settings, loaded: LoadedModel) -> Thresholds:
    table = evaluation.read_labelled_photos(arguments.labelled, loaded.vocabulary.labels)
    photos = _embed_photos(table.photos, arguments.labelled.parent, settings, loaded)
    current = loaded.thresholds
    predictions = evaluation.predict(photos, loaded.vocabulary, loaded.engine, current)
    if table.other_columns:
        print(f"columns that are no group of the labels: {', '.join(table.other_columns)}")
    for group in table.groups:
        print(f"{format_group_table(group, build_group_table(predictions, group))}\n")
    if PET_GROUP not in table.groups:
        if arguments.write:
            raise ConfigError(f"A threshold needs the column {PET_GROUP}.")
        return current
    _print_summary(f"{len(photos)} photos, {loaded.checkpoint.model.id}", predictions, current)
    if arguments.show_errors:
        _print_errors(predictions)
    calibrated = evaluation.calibrate(photos, loaded.vocabulary, loaded.engine, current)
    again = evaluation.predict(photos, loaded.vocabulary, loaded.engine, calibrated)
    _print_summary("\ncalibrated on these photos:", again, calibrated)
    return calibrated


def _embed_photos(
    expected: list[evaluation.LabelledPhoto], folder: Path, settings: Settings, loaded: LoadedModel
) -> list[evaluation.EmbeddedPhoto]:
    limits, spec = ImageLimits(settings.limits.max_file_bytes, settings.limits.max_pixels), loaded.engine.spec
    photos = []
    for photo in tqdm(expected, unit=" photos", disable=None, dynamic_ncols=True):
        data = read_photo(str((folder / photo.file).resolve()), limits.max_bytes).data
        image = decode(data, limits, spec.shorter_side)
        views = [image, *(cut_parts(image) if loaded.thresholds.parts is not None else ())]
        whole, *parts = (loaded.engine.embed([preprocess(view, spec)])[0] for view in views)
        photos.append(evaluation.EmbeddedPhoto(photo, whole, tuple(parts)))
    return photos


def _evaluate_corrections(arguments: argparse.Namespace, settings: Settings, loaded: LoadedModel) -> Thresholds:
    folder = arguments.corrections if arguments.corrections.parts else settings.folder.path or DEFAULT_FOLDER
    group = loaded.vocabulary.labels.groups.get(PET_GROUP)
    if not folder.is_dir() or group is None:
        raise ConfigError(f"The folder {folder} does not exist." if group else f"The labels have no group {PET_GROUP}.")
    records = list(_read_records(folder.resolve(), settings))
    own = [record for record in records if record.fingerprint == loaded.identity.fingerprint]
    report = build_correction_report(own, group, loaded.thresholds)
    print(
        f"{len(own)} records in {folder} have this model, labels and thresholds; {len(records) - len(own)} have others"
    )
    print(f"{report.corrected} photos have a corrected species; others count as right, unsure ones do not count\n")
    _print_labels(report)
    return _print_threshold(report, loaded.thresholds)


def _read_records(root: Path, settings: Settings) -> Iterator[TagRecord]:
    sidecars = build_sidecars(settings, root)
    try:
        for found in Walk(root, settings.folder, removes_temporary=False):
            stamp = sidecars.look(found.ref).stamp
            if stamp and stamp.record:
                yield stamp.record
    except OSError as error:
        raise PawtagError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error


def _print_labels(report: CorrectionReport) -> None:
    labels = sorted({*report.given, *report.added})
    width = max((len(label) for label in labels), default=0)
    print(f"{'species':{max(width, 7)}}   given  taken away  added")
    for label in labels:
        counts = f"{report.given[label]:6}  {report.taken[label]:10}  {report.added[label]:5}"
        print(f"{escape_unprintable(label):{max(width, 7)}}  {counts}")


def _print_threshold(report: CorrectionReport, current: Thresholds) -> Thresholds:
    """Raises ConfigError for too few corrections."""
    best = report.find_threshold(current)
    for title, threshold in (("now", current.tag), ("best", best)):
        right = report.count_right(threshold, current.presence)
        print(f"threshold {title}, {threshold:g}: {right} of {len(report.photos)} photos right")
    return replace(current, tag=best, secondary=min(best, current.secondary))


def _print_summary(title: str, predictions: list[evaluation.Prediction], thresholds: Thresholds) -> None:
    print(f"{title} threshold {thresholds.tag:g}, temperature {thresholds.temperature:g}")
    print("\n".join(f"  {name}: {value}" for name, value in evaluation.summarise_predictions(predictions).items()))


def _print_errors(predictions: list[evaluation.Prediction]) -> None:
    for prediction in predictions:
        if not prediction.is_right:
            got = "/".join(prediction.tags) or "no tag"
            print(f"  {escape_unprintable(prediction.expected.file)}: {prediction.expected.species}, got {got}")


def _check_write(arguments: argparse.Namespace, settings: Settings, loaded: LoadedModel) -> None:
    """The values must apply to the model of the settings file. Raises ConfigError."""
    if loaded.checkpoint.model.fallback:
        raise ConfigError(f"{settings.model.id} is not on this machine: run 'pawtag model pull' first.")
    wanted = config.load_settings(getattr(arguments, "config", None)).model.id
    if settings.model.id != wanted:
        raise ConfigError(
            f"--write is for the model of the settings file, {wanted}: set model.id = {settings.model.id!r} there first."
        )


def _write(arguments: argparse.Namespace, calibrated: Thresholds) -> None:
    values = {"threshold": calibrated.tag, "temperature": calibrated.temperature}
    print(f"written to {config.write_model_settings(getattr(arguments, 'config', None), values)}")
