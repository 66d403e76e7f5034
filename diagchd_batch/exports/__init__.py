"""Exports of a run: shareable aggregates under disclosure control, and the worklist of the clinic."""
