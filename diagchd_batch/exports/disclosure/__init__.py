"""Disclosure control: selects aggregates of which nobody can work out the small counts."""
