"""Small JSON records in a store: written whole, read back or reported as damaged with what to do about it."""

from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from diagchd_batch.errors import RunFault
from diagchd_batch.storage import Store
from diagchd_batch.wording import shortened

MAX_RECORD_BYTES = 64 << 20
"""The largest record. The head of a plan of a million shards has 20 MB."""


class DamagedRecordError(RunFault):
    """A record exists but cannot be read. The message names the file and what to do."""


class JsonRecord(BaseModel):
    """Base of the records that an output keeps as JSON files.

    A subclass declares its fields like any pydantic model and sets `remedy`: what to do about a damaged file.
    Unknown fields are an error, because they come from another version of the program. A record that also other
    versions of the program must understand sets `extra="ignore"` instead.

    Attributes:
        remedy: What to do about a damaged file, as the end of a message.
        indent: Spaces of indentation in the file, or None for one line, for records with long lists.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    remedy: ClassVar[str] = "restore it from a backup"
    indent: ClassVar[int | None] = 2

    def to_json(self) -> bytes:
        """Return the record as a JSON text that ends with a newline."""
        return (self.model_dump_json(indent=self.indent) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, key: str) -> Self:
        """Return the record in `data`.

        Args:
            data: The file's bytes.
            key: The file's key, for the message.

        Raises:
            DamagedRecordError: `data` is not such a record.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise cls._damaged(key, first_problem(error)) from error

    @classmethod
    def read(cls, store: Store, key: str) -> Self | None:
        """Return a record, or None where there is none.

        Args:
            store: The store.
            key: The record's key.

        Raises:
            DamagedRecordError: The file is not such a record.
        """
        info = store.stat(key)
        if info is None:
            return None
        if info.size_bytes is not None and info.size_bytes > MAX_RECORD_BYTES:
            raise cls._damaged(key, f"it has {info.size_bytes:,} bytes, more than {MAX_RECORD_BYTES:,}")
        return cls.from_json(store.read(key), key)

    def write(self, store: Store, key: str) -> None:
        """Write the record atomically, in place of an earlier one.

        Args:
            store: The store.
            key: The record's key.
        """
        store.replace(key, self.to_json())

    def create(self, store: Store, key: str) -> bool:
        """Write the record if there is none.

        Args:
            store: The store.
            key: The record's key.

        Returns:
            Whether this record was written. False: another one was there before and stays.
        """
        return store.create(key, self.to_json())

    @classmethod
    def _damaged(cls, key: str, problem: str) -> DamagedRecordError:
        return DamagedRecordError(f"{key} is damaged or of another version of this program ({problem}); {cls.remedy}")


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a JSON text, with the field that it is about. Its length is bounded."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(shortened(str(part), 60) for part in first["loc"])
    reason = shortened(first["msg"].removeprefix("Value error, "), 300)
    return f"{field}: {reason}" if field else reason
