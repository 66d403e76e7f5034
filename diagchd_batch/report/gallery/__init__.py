"""Pictures of single cases with the outlines of their masks. They are identified, so they go to the private tree."""

from diagchd_batch.report.gallery.document import write_gallery

__all__ = ["write_gallery"]
