"""Checks that every node of a cluster can work on a run, before the run begins and when a node joins later.

`node_report` runs on a node and says what the node has. `nodes_at_start` checks all nodes before a run begins, and
`nodes_joining_later` checks a node that joins during a run. `excluded_nodes` keeps the run off a node that fails then.
What a node needs is stated in `python_requirements` and `package_versions`.
"""
