"""SQL conditions on keys that several layouts share."""

from diagchd_batch.images.formats import image_suffixes

IS_HIDDEN = "(starts_with(key, '.') OR contains(key, '/.'))"
"""Whether a part of the key begins with a dot, as in `.Trash` or `._scan.png`."""


def is_image_sql() -> str:
    """Return whether `key` ends like the name of an image, in SQL. Contents are examined when files are decoded."""
    suffixes = image_suffixes()
    endings = "|".join(suffix.removeprefix(".") for suffix in suffixes)
    # Only the end of the key is searched, because an expression takes long on millions of whole keys.
    return rf"regexp_matches(lower(right(key, {max(map(len, suffixes))})), '\.({endings})$')"
