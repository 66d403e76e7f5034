"""A PACS that is read through DICOMweb: QIDO-RS lists its studies, and WADO-RS retrieves instances and frames."""
