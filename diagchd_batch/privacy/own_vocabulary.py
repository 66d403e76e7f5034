"""The texts of the program itself. A value that stands in them tells nothing when it stands in an output."""

import re
from functools import cache
from pathlib import Path

import diagchd_batch
from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.evaluation.tables.display_names import PUBLIC_WORDS
from diagchd_batch.privacy.value_index import SearchedText

_SUFFIXES = {".py", ".j2", ".css"}
_REMARKS = re.compile(r'"""[\s\S]*?"""|(?<=\s)#.*')
_GROUPED_DIGITS = re.compile(r"(?<=\d)_(?=\d)")


@cache
def own_texts() -> tuple[SearchedText, ...]:
    """Return each module, template and bundled model card, ready to be searched.

    Names of columns, codes, words of reports and default settings are among them, and the words that every table may
    show. Comments and docstrings are left out.
    """
    package = Path(diagchd_batch.__file__).parent
    texts = []
    for path in sorted(package.rglob("*")):
        if path.suffix in _SUFFIXES and "bundled_files" not in path.parts:
            text = path.read_text(encoding="utf-8")
            texts.append(_GROUPED_DIGITS.sub("", _REMARKS.sub("", text) if path.suffix == ".py" else text))
    for path in sorted(bundled_path("configs/models").glob("*/card.json")):
        texts.append(path.read_text(encoding="utf-8"))
    words = SearchedText([word.replace("_", " ") for word in sorted(PUBLIC_WORDS)], are_fields=True)
    return (words, *(SearchedText(text.split("\n"), are_fields=False) for text in texts))
