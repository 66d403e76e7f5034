"""Pictures of single cases with the outlines of their masks. They are identified, so they go to the private tree."""

from diagchd_batch.report.gallery.document import GalleryContents, write_gallery

__all__ = ["GalleryContents", "write_gallery"]
