"""Proves that an output is complete and unaltered. A check belongs in the module of what it looks at.

* `row_checks`: the values of one row, and the rows that each planned image must have.
* `shard_file`: one score file: its bytes, schema, metadata and recorded sources.
* `predictions_table`: the derived predictions against the score files.
* `shards_of_run`: finds shards that are missing or too many, and has the others checked, several at a time.
* `one_run`: one run as a whole: its record, plan, counts, and files that do not belong to it.
* `lineage`: the runs of a lineage together.
* `whole_output`: all runs and lineages of an output.

Every kind of problem has its name and its remedy in `findings`.
"""
