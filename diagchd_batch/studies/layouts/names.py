"""SQL conditions on keys that several layouts share."""

from diagchd_batch.images.formats import image_suffixes

IS_HIDDEN = r"regexp_matches(key, '(^|/)\.')"
"""Whether a part of the key begins with a dot, as in `.Trash` or `._scan.png`."""


def is_image_sql() -> str:
    """Return whether `key` ends like the name of an image, in SQL. Contents are examined when files are decoded."""
    endings = "|".join(suffix.removeprefix(".") for suffix in image_suffixes())
    return rf"regexp_matches(lower(key), '\.({endings})$')"
