"""Moves the heart of an image through the heartbeat, so that its frames make a cine loop."""

from dataclasses import replace

import numpy as np

from dataset.phantom.rendering.images import Parameters

HEART_RATE_PER_MIN = 140
"""Heart rate of a median fetus in the second trimester."""


def at_time(parameters: Parameters, time_ms: float) -> Parameters:
    """Return the parameters of an image at a time of its loop.

    The heart begins relaxed with open valves. When it contracts, the ventricles become smaller, their walls and the
    septum thicker, the atria larger, and the valves close. Chest, plane and scanner settings stay.

    Args:
        parameters: The parameters of the image.
        time_ms: Milliseconds since the loop began.
    """
    beats = time_ms * HEART_RATE_PER_MIN / 60_000
    contraction = float(0.5 * (1.0 - np.cos(2.0 * np.pi * beats)))
    heart = parameters.heart
    moved = replace(
        heart,
        ventricle_half_width=heart.ventricle_half_width * (1.0 - 0.12 * contraction),
        ventricle_half_length=heart.ventricle_half_length * (1.0 - 0.07 * contraction),
        wall=heart.wall * (1.0 + 0.20 * contraction),
        septum_thickness=heart.septum_thickness * (1.0 + 0.18 * contraction),
        atria_half_width=heart.atria_half_width * (1.0 + 0.08 * contraction),
    )
    return replace(parameters, heart=moved, openness=1.0 - contraction)
