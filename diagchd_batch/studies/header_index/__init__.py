"""The index of headers: what each DICOM file of an archive says about itself, one row for each object of the listing.

`header_columns` declares the table, `header_row` makes a row from DICOM attributes, and `read_header` reads the header
of one object by ranges.
"""
