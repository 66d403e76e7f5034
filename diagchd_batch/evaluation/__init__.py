"""From results to tables: evaluates runs against the reference standard and the readers, and compares runs."""
