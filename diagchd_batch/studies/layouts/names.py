"""SQL conditions on keys that several layouts share."""

IS_IMAGE = r"regexp_matches(lower(key), '\.(png|jpg|jpeg|tif|tiff|bmp)$')"
"""By its name; what is in the file is seen when it is decoded."""

IS_HIDDEN = r"regexp_matches(key, '(^|/)\.')"
"""A part that begins with a dot: `.Trash`, `._scan.png`."""
