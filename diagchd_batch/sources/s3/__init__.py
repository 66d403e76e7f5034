"""Prefixes of S3 buckets, Amazon's or any other server's, through boto3."""
