"""The plan of a run: making it from an inventory, freezing it, and reading it.

`make_plan` is the entry for making or previewing a plan. It uses `selection` and `sharding`, and `draft_files`, which
writes the files of the plan to a temporary directory. `stored_plan` declares the plan's tables and reads a frozen plan;
`planned_images` has the rows that it returns.
"""
