"""Scores the shards of a plan and commits their files.

`driver` decides what is to be scored and follows the run, `worker` scores one shard after another, `decoding` turns
image files into frames, and `liveness` holds heartbeats, attempts, progress and the conditions that stop a run. A
change that alters a score raises the number in `scoring_version`.
"""
