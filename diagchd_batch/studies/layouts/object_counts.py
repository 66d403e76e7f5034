"""What became of the objects of a DICOM archive when it was planned, in numbers."""

from pydantic import BaseModel, ConfigDict


class ObjectCounts(BaseModel):
    """The objects of the index of headers that a plan of layout `dicom` was made from.

    Attributes:
        n_objects: Objects in the index.
        not_planned: Objects that are no images, by what they are: ``not DICOM``, ``DICOMDIR``, or the name of the SOP
            class in the standard.
        n_unreadable: Objects whose header cannot be read. They are planned.
        n_copies: Objects that are further copies of a planned one. They have its SOP Instance UID and are not planned.
        n_differing: SOP Instance UIDs whose copies differ in size or entity tag.
        left_out_images: Images that each filter leaves out, by the filter's key.
        left_out_studies: Studies that have lost their last image to each filter.
        n_several_patients: Planned studies whose objects name more than one patient.
        n_frames: Frames that the rule chooses of the planned images, as their headers count them; 1 for a header that
            cannot be read. None in plans of earlier versions.
        n_frame_requests: Planned images of which only chosen frames are read, which takes a second request to a PACS.
            None in plans of earlier versions.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    n_objects: int
    not_planned: dict[str, int]
    n_unreadable: int
    n_copies: int
    n_differing: int
    left_out_images: dict[str, int]
    left_out_studies: dict[str, int]
    n_several_patients: int
    n_frames: int | None = None
    n_frame_requests: int | None = None
