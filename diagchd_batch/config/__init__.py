"""The job file: its schema, how it is read, and the fingerprint of what changes a score.

A new key is a field of `job_file`. If it changes a score, `scoring.driver.run_identity.identity` must also add it to
the fingerprint.
"""
