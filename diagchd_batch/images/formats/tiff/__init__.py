"""The reader of TIFF files, page by page. Only combinations of tags that are known to be right are read."""

from diagchd_batch.images.formats.tiff.tiff_file import TIFF_SIGNATURES, TiffFile, open_tiff, texts_of_tiff

__all__ = ["TIFF_SIGNATURES", "TiffFile", "open_tiff", "texts_of_tiff"]
