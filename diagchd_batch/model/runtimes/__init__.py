"""Runtimes: each compiles a network for this machine and scores batches of images with it.

`interface` declares what a runtime returns. Another runtime is one package beside `tensorflow` and one line in
`registry`.
"""
