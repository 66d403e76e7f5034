"""The sections of a report, each a function of the run's tables.

To add one, write a module here and name it in `_SECTIONS` of `report.document`, which says the order.
"""
