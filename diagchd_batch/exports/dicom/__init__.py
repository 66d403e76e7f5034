"""Writes `export dicom`: results as DICOM objects that a PACS can store beside the images. Identified."""
