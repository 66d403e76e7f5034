"""Searches what an output shows to others for values that identify a patient, a reader or a place.

`known_values` gathers the values from the private tree, `value_index` finds them in texts, `readings` decodes texts,
and `searched_files` takes the files of an output apart into texts. `check` is the entry.
"""
