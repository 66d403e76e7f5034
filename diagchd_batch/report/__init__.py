"""Writes a run's tables as one self-contained HTML file."""

from diagchd_batch.report.document import write_report

__all__ = ["write_report"]
