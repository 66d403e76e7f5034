"""Distributed batch scoring of fetal four-chamber heart ultrasound with DiagCHD's multi-task model."""

__version__ = "0.1.0"
