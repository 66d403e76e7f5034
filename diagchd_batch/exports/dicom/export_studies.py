"""The export of chosen studies to a folder or a PACS."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from diagchd_batch.errors import ItemError, UsageError
from diagchd_batch.exports.chosen_images import ChosenImage
from diagchd_batch.exports.dicom.image_objects import objects_of_image
from diagchd_batch.exports.dicom.objects.scored_frames import ScoringModel
from diagchd_batch.exports.dicom.scored_sources import ScoredSources
from diagchd_batch.exports.dicom.storing.destination import Destination, NewObject, Outcome, Stored
from diagchd_batch.images.formats.dicom import DicomReader

_MAX_BATCH_BYTES = 32 << 20


@dataclass(frozen=True)
class UnusableSource:
    """An image without objects, because its file cannot be used. `code` is a failure code."""

    study_id: str
    image_id: str
    code: str


@dataclass
class DicomExport:
    """What an export did.

    Attributes:
        destination: Where to.
        dry_run: Whether it only found out what it would do.
        n_studies: Studies with at least one object.
        n_images: Images with at least one object.
        n_stored: Objects that were stored, or would be, by kind.
        n_there: Objects that were there already.
        failed: Objects that were not stored.
        unusable: Images whose file cannot be used.
    """

    destination: str
    dry_run: bool
    n_studies: int = 0
    n_images: int = 0
    n_stored: dict[str, int] = field(default_factory=dict)
    n_there: int = 0
    failed: list[Stored] = field(default_factory=list)
    unusable: list[UnusableSource] = field(default_factory=list)


def export_studies(
    images: Iterable[ChosenImage],
    models: Mapping[str, ScoringModel],
    sources: ScoredSources,
    destination: Destination,
    *,
    captures: bool,
    dry_run: bool,
    on_progress: Callable[[int, DicomExport], None] = lambda *_: None,
) -> DicomExport:
    """Make the objects of images, and store those that are not there yet.

    Args:
        images: The images.
        models: What scored, by run id.
        sources: The files of the images.
        destination: Where to.
        captures: Whether to make Secondary Captures, too.
        dry_run: Make the objects and store none.
        on_progress: Receives, after each image, the number of images so far and what was done so far. The last
            objects may not be stored yet, because a PACS is sent several at a time.

    Returns:
        What was done. Objects that failed and files that cannot be used are in it, and end nothing.

    Raises:
        UsageError: An image is no DICOM object, so there is no study that its results could go to.
        StorageFault: The archive or the destination cannot be used.
    """
    done = DicomExport(destination.uri, dry_run)
    studies: set[str] = set()
    batch: list[NewObject] = []
    for n_images, image in enumerate(images, start=1):
        try:
            data, limits = sources.read(image)
            _refuse_other_formats(image, data)
            for planned in objects_of_image(models[image.run_id], image, data, limits, captures=captures):
                if destination.has(planned.identity):
                    done.n_there += 1
                    continue
                batch.append(NewObject(planned.identity, planned.make()))
                if len(batch) >= destination.max_batch or sum(len(new.data) for new in batch) >= _MAX_BATCH_BYTES:
                    _store(batch, destination, done)
        except ItemError as error:
            done.unusable.append(UnusableSource(image.study_id, image.image_id, error.code.value))
        else:
            studies.add(image.study_id)
            done.n_images += 1
        on_progress(n_images, done)
    done.n_studies = len(studies)
    _store(batch, destination, done)
    return done


def _refuse_other_formats(image: ChosenImage, data: bytes) -> None:
    if not DicomReader().recognizes(data):
        raise UsageError(
            f"image {image.image_id} of study {image.study_id} is no DICOM object, so there is no study in a PACS that "
            "its results belong to; choose other studies with --study or --where, or write its masks as pictures with "
            "the command `export png`"
        )


def _store(batch: list[NewObject], destination: Destination, done: DicomExport) -> None:
    """Store a batch and empty it."""
    for stored in destination.store(batch, dry_run=done.dry_run) if batch else ():
        if stored.outcome is Outcome.STORED:
            kind = stored.identity.kind.value
            done.n_stored[kind] = done.n_stored.get(kind, 0) + 1
        elif stored.outcome is Outcome.THERE:
            done.n_there += 1
        else:
            done.failed.append(stored)
    batch.clear()
