"""Checks that every node of a cluster can work on a run, before the run begins and when a node joins later.

`probe` runs on the node and reports; `check_nodes` and `late_node` judge the report. What a node needs is stated in
`requirements` and `versions`. A node that fails the check during a run is handled by `excluded_nodes`.
"""
