"""Keeps Ray Data's own messages off the terminal."""

import logging


def silence_ray_data() -> None:
    """Keep Ray Data from logging its plan and statistics to the terminal. It also logs them to a file.

    Call it when `ray.data` was imported, because that adds the handler.
    """
    logger = logging.getLogger("ray.data")
    for handler in list(logger.handlers):
        if handler.name == "console":
            logger.removeHandler(handler)
