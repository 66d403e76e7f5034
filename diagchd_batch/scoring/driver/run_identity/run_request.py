"""Which run the user asks for, as the options of a command say it."""

from dataclasses import dataclass

from diagchd_batch.errors import UsageError
from diagchd_batch.output_layout import check_run_id
from diagchd_batch.results.run_record import Selection


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Which run the user asks for.

    Attributes:
        run_id: A name of the user's own. An existing run of that name is resumed.
        new_run: Begin a new run of the whole input, although one could go on.
        selection: Build on the newest run, and plan only what is new or what failed.
        input_moved: The archive of this output was moved to `input.uri`.

    Raises:
        UsageError: The options exclude each other, or the run id has other characters than allowed.
    """

    run_id: str | None = None
    new_run: bool = False
    selection: Selection = "all"
    input_moved: bool = False

    def __post_init__(self) -> None:
        if self.run_id is not None and self.new_run:
            raise UsageError("--run-id and --new-run exclude each other, because a new run gets its own id; omit one")
        if self.new_run and self.selection != "all":
            raise UsageError("--new-run scores everything and --select only a part; omit one of them")
        if self.run_id is not None:
            check_run_id(self.run_id)
