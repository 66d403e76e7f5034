"""Reads YAML that a user or a sender gave. A text of any content costs little time and memory, and gives no traceback.

Aliases are refused, because a few lines of them stand for gigabytes. Depth and length are bounded.
"""

from collections.abc import Hashable
from typing import Any

import yaml

from diagchd_batch.errors import ConfigError
from diagchd_batch.wording import shortened, shown_value

MAX_DOCUMENT_BYTES = 1 << 18
"""The largest YAML document, which takes some seconds. A job file of every key with its comments has about 10 kB."""

MAX_DEPTH = 20
"""Blocks and lists within each other. A job file has 4."""

MAX_NUMBER_CHARACTERS = 40

_MAX_MESSAGE_CHARACTERS = 600
_UNREADABLE_VALUE = (ValueError, OverflowError, LookupError, AttributeError, TypeError)
"""What PyYAML raises for a scalar that its tag does not fit, such as a date in month 99."""


class _StrictLoader(yaml.SafeLoader):
    """Refuses aliases, deep nesting, keys that appear twice in one block, and values that no type fits."""

    def __init__(self, text: str, place: str) -> None:
        super().__init__(text)
        self.name = place  # what error messages call the document
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _error("anchors (&) and aliases (*) are not allowed; write the value out", event.start_mark)
        if self._depth > MAX_DEPTH:
            raise _error(f"more than {MAX_DEPTH} blocks or lists lie within each other", event.start_mark)
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_NUMBER_CHARACTERS:
            raise _error(f"a number has more than {MAX_NUMBER_CHARACTERS} characters", node.start_mark)
        try:
            return super().construct_object(node, deep)
        except _UNREADABLE_VALUE:
            kind = node.tag.rpartition(":")[2]
            raise _error(
                f"{shown_value(node.value)} is not a possible {shortened(kind, 20)}; put a text in quotes",
                node.start_mark,
            ) from None


def _mapping_without_duplicates(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    """Refuse a key that appears twice in one block, because YAML would silently keep the last one."""
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if not isinstance(key, Hashable):
            raise _error("a list or block stands for a key", key_node.start_mark)
        if key in seen:
            raise _error(f"key {shown_value(key)} stands twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)


def read_yaml(text: str, place: str) -> Any:
    """Return the value that a YAML text holds: mappings, lists, texts, numbers, dates, true, false and null.

    Args:
        text: The text.
        place: What messages call it, such as ``job file job.yaml``. They add the line.

    Raises:
        ConfigError: The text is not valid YAML, or has aliases, too many levels, or is too long.
    """
    if len(text) > MAX_DOCUMENT_BYTES:
        raise ConfigError(f"{place} is longer than {MAX_DOCUMENT_BYTES:,} characters; give a shorter one")
    try:
        return _StrictLoader(text, place).get_single_data()
    except yaml.YAMLError as error:
        raise ConfigError(f"{place} is not valid YAML: {shortened(str(error), _MAX_MESSAGE_CHARACTERS)}") from error


def _error(problem: str, mark: yaml.Mark | None) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)
