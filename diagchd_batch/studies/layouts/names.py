"""SQL conditions on keys that several layouts share."""

IS_IMAGE = r"regexp_matches(lower(key), '\.(png|jpg|jpeg|tif|tiff|bmp)$')"
"""Whether the name ends like that of an image. The content of the file is examined when it is decoded."""

IS_HIDDEN = r"regexp_matches(key, '(^|/)\.')"
"""Whether a part of the key begins with a dot, as in `.Trash` or `._scan.png`."""
