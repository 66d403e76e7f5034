"""Distributed batch scoring of fetal four-chamber heart ultrasound with DiagCHD's multi-task model."""

from diagchd_batch.process.import_path import protect_own_program

__version__ = "0.1.0"

protect_own_program()  # Python imports this package before anything else of the program
