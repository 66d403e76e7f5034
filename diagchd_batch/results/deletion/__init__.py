"""Removes a subject or a run from an output, so that a kill at any moment leaves the old state or leads to the new one.

A deletion first prepares every file that changes under a new name in the private tree (`stage_changes`, with
`remaining_plan`, `subject_search` and `row_removal`). Nothing that counts has changed so far. Then it creates its
journal (`records`), which is the decision, and does what the journal says (`apply_changes`). Whoever finds a journal
does the same again, with the same result. At last a note without an identifier is left in the public tree, and the
journal is removed. Which kinds of files an output has is in `output_layout`.
"""
