"""The worker of a run: a process that scores whole shards with one model.

`ray_entry` is what Ray starts, and `worker_process` is the same without Ray. `shard_scorer` commits a shard,
`pipeline` streams its images through the model, and `score_rows` computes the columns of a score file.
"""
