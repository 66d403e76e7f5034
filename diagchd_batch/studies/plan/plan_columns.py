"""The columns of a plan's tables, each declared once. They are identified data and stay in the private tree."""

import pyarrow as pa

from diagchd_batch.table_format.declared_columns import DeclaredColumn, arrow_schema

_TEXT, _BIG = pa.string(), pa.int64()
_NO_MASK = "images without a reference mask"
_NOT_LISTED = "files that were not listed"
_NOT_ON_DISK = "files that were not listed, and objects in S3"
_NOT_IN_S3 = "files that were not listed, and files on a disk"


def _always(name: str, kind: pa.DataType, description: str, minimum: float | None = None) -> DeclaredColumn:
    return DeclaredColumn(name, kind, description, nullable=False, minimum=minimum)


IMAGE_COLUMNS = (
    _always("shard", pa.int32(), "shard that scores the image", 0),
    _always("position", pa.int32(), "place of the image in its shard, from 0", 0),
    _always("subject_id", _TEXT, "token of the subject (the pregnancy)"),
    _always("study_id", _TEXT, "token of the study"),
    _always("image_id", _TEXT, "token of the image file"),
    _always("uri", _TEXT, "the image file, relative to the root of the archive"),
    DeclaredColumn("frames", pa.list_(pa.int32()), "frames to score, from 0", null_when="the job's frame rule applies"),
    DeclaredColumn("size_bytes", _BIG, "size of the file", unit="bytes", minimum=0, null_when=_NOT_LISTED),
    DeclaredColumn("etag", _TEXT, "entity tag in S3", null_when=_NOT_IN_S3),
    DeclaredColumn("modified_ns", _BIG, "modification time on a disk", unit="nanoseconds since 1970, UTC",
                   null_when=_NOT_ON_DISK),
    DeclaredColumn("mask_uri", _TEXT, "the reference mask, relative to the root of the archive", null_when=_NO_MASK),
    DeclaredColumn("mask_size_bytes", _BIG, "size of the reference mask", unit="bytes", minimum=0,
                   null_when=f"{_NO_MASK}, and {_NOT_LISTED}"),
    DeclaredColumn("mask_etag", _TEXT, "entity tag of the reference mask in S3",
                   null_when=f"{_NO_MASK}, and {_NOT_IN_S3}"),
    DeclaredColumn("mask_modified_ns", _BIG, "modification time of the reference mask on a disk",
                   unit="nanoseconds since 1970, UTC", null_when=f"{_NO_MASK}, and {_NOT_ON_DISK}"),
    DeclaredColumn("fold", pa.int32(), "fold of a training whose model scores the image, from 0", minimum=0,
                   null_when="runs other than the out-of-fold predictions of a training"),
)  # fmt: skip

STUDY_COLUMNS = (
    _always("subject_id", _TEXT, "token of the subject (the pregnancy)"),
    _always("study_id", _TEXT, "token of the study"),
    DeclaredColumn("source_subject_id", _TEXT, "the subject's own id",
                   null_when="the input names no subject, so the study is its own subject"),
    _always("source_study_id", _TEXT, "the study's own id"),
    DeclaredColumn("fetus", _TEXT, "the fetus, in a multiple pregnancy", null_when="the input names none"),
    DeclaredColumn("label", pa.int8(), "label of the manifest or the folder: 0 normal, 1 congenital heart disease",
                   minimum=0, maximum=1, null_when="the input has no label"),
    _always("n_images", _BIG, "image files in the inventory; 0: the whole study is excluded", 0),
    _always("exclude_reasons", pa.list_(_TEXT), "why rows of the manifest are excluded, one reason for each row"),
    DeclaredColumn("subject_from", _TEXT, "what the subject's own id is: a PatientID, or the name of the mother",
                   values=("patient_id", "mother"),
                   null_when="layouts other than dicom, and studies that are their own subject"),
    DeclaredColumn("accession_number", _TEXT, "Accession Number of the study",
                   null_when="layouts other than dicom, and studies without one"),
)  # fmt: skip

PLAN_IMAGES = arrow_schema(IMAGE_COLUMNS)
"""The schema of a plan's parts: one row per image file, one row group per shard. `PlannedImage` holds one row.

All images of a shard have the same fold.
"""

PLAN_STUDIES = arrow_schema(STUDY_COLUMNS)
"""The schema of a plan's studies, in the order of their tokens.

A run's first plan has every study of the inventory, including the excluded ones. A run that builds on earlier runs has
the studies whose images it plans, and the studies that differ from what its lineage says of them.
"""
