"""Single cases as pictures: sources with the outlines of their masks. Identified, so for the private tree alone."""

from diagchd_batch.report.gallery.document import write_gallery

__all__ = ["write_gallery"]
