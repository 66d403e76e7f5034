"""The columns of the tables that `evaluate` writes to the private tree, because they hold names of the user's own."""

import pyarrow as pa

from diagchd_batch.results.columns.evaluation_tables import described_schema, text

NAMES = described_schema(
    "one name of the user's own that the metrics tables replace by another",
    (
        text("kind", "what is named, such as `reader`, `session`, `arm`, `reason`, `covariate` or `site level`"),
        text("name_in_tables", "what the metrics tables and the report say"),
        text("own_name", "what the user's own tables say"),
    ),
)

UNMATCHED = described_schema(
    "one study id of a table of the user's own that the inventory does not have",
    (
        text("table", "the table: `reference`, `readers` or `covariates`"),
        text("id", "the study's id as it stands there"),
    ),
)

PRIVATE_TABLES: dict[str, pa.Schema] = {"names": NAMES, "unmatched": UNMATCHED}
"""Schema of each table `runs/run_id=R/evaluation/<table>.pq` of the private tree."""
