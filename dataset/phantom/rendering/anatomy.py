"""Describes a four-chamber heart in two dimensions by parameters.

The unit of heart coordinates is the distance from the crux, where both septa and both valves meet, to about the apex.
``u`` runs from the crux (0) towards the apex (+1); the atria have u < 0. ``v`` runs across and is positive on the side
of the left heart.
"""

from dataclasses import dataclass

import numpy as np

from dataset.phantom.rendering.geometry import Array, ellipse, segment, smooth_intersection, smooth_union

DROPOUT_BETA = (1.0, 3.0)
"""Parameters of the beta distribution of the depth of echo drop-out in intact septa."""


@dataclass(frozen=True)
class Heart:
    """Shape of one heart, with lengths in heart units. The defaults describe a median normal heart."""

    ventricle_half_length: float = 0.80
    ventricle_half_width: float = 0.62
    atria_half_length: float = 0.42
    atria_half_width: float = 0.55
    taper: float = 0.30
    wall: float = 0.13
    atrial_wall: float = 0.07
    septum_thickness: float = 0.125
    septum_shift: float = 0.02
    """v of the middle of the ventricular septum. A positive value makes the left ventricle narrower."""
    septum_tilt: float = 0.0
    septum_bow: float = 0.03
    gap_center: float = 0.15
    gap_width: float = 0.0
    """Width of a ventricular septal defect, centred at `gap_center`. 0 means that there is none."""
    primum_gap: float = 0.0
    """Length of the missing lower part of the atrial septum, from the crux upwards."""
    atrial_septum_thickness: float = 0.045
    atrial_shift: float = 0.0
    foramen_center: float = -0.40
    foramen_width: float = 0.20
    flap_bulge: float = 0.10
    mitral_level: float = 0.0
    tricuspid_level: float = 0.085
    """u at which the tricuspid leaflet is inserted, normally a little nearer to the apex than the mitral leaflet."""
    left_scale: float = 1.0
    right_scale: float = 1.0
    """Size of the right ventricle's cavity, as `left_scale` of the left one's. Far below 1 it is hypoplastic."""
    mitral_thickness: float = 0.022
    tricuspid_thickness: float = 0.022
    mitral_mobility: float = 1.0
    tricuspid_mobility: float = 1.0
    band_position: float = 0.58
    dropout_center: float = 0.08
    dropout_depth: float = 0.0
    """Echo drop-out of an intact septum, 0 to 1. In a normal heart it mimics a small defect."""
    wobble: tuple[tuple[float, float, float, float, float], ...] = ()
    """Low waves that make outlines irregular, each with amplitudes and wave numbers along u and v, and a phase."""

    @property
    def apex(self) -> float:
        """u of the epicardial apex."""
        return 0.30 + self.ventricle_half_length


@dataclass(frozen=True)
class HeartFields:
    """Signed distances at the requested points, in heart units, negative inside."""

    outline: Array
    septum: Array
    blood: Array
    leaflets: Array
    dropout: Array
    """Loss of the septum's echo, 0 to 1. This is not a distance."""


def draw_normal_heart(rng: np.random.Generator) -> Heart:
    """Draw a normal heart with normal variation, which includes features that mimic disease."""

    def around(mean: float, spread: float, reach: float = 2.2) -> float:
        return float(mean + spread * np.clip(rng.standard_normal(), -reach, reach))

    waves = tuple(
        (around(0.0, 0.014), around(0.0, 0.014), around(0.0, 4.0), around(0.0, 4.0), float(rng.uniform(0, 2 * np.pi)))
        for _ in range(4)
    )
    return Heart(
        ventricle_half_length=around(0.80, 0.045),
        ventricle_half_width=around(0.62, 0.035),
        atria_half_length=around(0.42, 0.035),
        atria_half_width=around(0.55, 0.035),
        taper=around(0.30, 0.08),
        wall=around(0.13, 0.018),
        atrial_wall=around(0.07, 0.010),
        septum_thickness=around(0.145, 0.016),
        septum_shift=around(0.022, 0.024),
        septum_tilt=around(0.0, 0.04),
        septum_bow=around(0.02, 0.03),
        gap_center=around(0.15, 0.03),
        atrial_septum_thickness=around(0.045, 0.008),
        atrial_shift=around(0.0, 0.03),
        foramen_center=around(-0.40, 0.03),
        foramen_width=around(0.20, 0.04),
        flap_bulge=around(0.11, 0.04),
        tricuspid_level=around(0.085, 0.020),
        left_scale=around(1.0, 0.05),
        right_scale=around(1.0, 0.05),
        band_position=around(0.54, 0.05),
        dropout_center=around(0.12, 0.06),
        dropout_depth=float(rng.beta(*DROPOUT_BETA)),
        wobble=waves,
    )


def _bent(heart: Heart, u: Array, v: Array) -> tuple[Array, Array]:
    du, dv = np.zeros_like(u), np.zeros_like(v)
    for along, across, wave_u, wave_v, phase in heart.wobble:
        wave = np.sin(wave_u * u + wave_v * v + phase)
        du += along * wave
        dv += across * wave
    return u + du, v + dv


def _outline(heart: Heart, u: Array, v: Array) -> Array:
    narrowing = np.clip(1.0 - heart.taper * (u - 0.30), 0.55, 1.45)
    ventricles = ellipse(u, v / narrowing, (0.30, 0.0), (heart.ventricle_half_length, heart.ventricle_half_width))
    atria = ellipse(
        u, v, (-heart.atria_half_length, heart.atrial_shift), (heart.atria_half_length, heart.atria_half_width)
    )
    return smooth_union(ventricles, atria, 0.15)


def _septum_line(heart: Heart, u: Array) -> Array:
    inside = np.clip(u, -0.2, 1.1)
    return (
        heart.septum_shift + heart.septum_tilt * (inside - 0.4) + heart.septum_bow * (0.25 - (inside - 0.45) ** 2) * 2
    )


def _septum(heart: Heart, u: Array, across: Array) -> Array:
    """Return the muscular septum without its defect, from the crux to where it merges with the apex."""
    end = heart.apex - 0.8 * heart.wall
    strip = np.abs(across) - 0.5 * heart.septum_thickness * (0.85 + 0.3 * np.clip(u, 0.0, 1.0))
    body = smooth_intersection(strip, np.maximum(-u, u - end), 0.05)
    if heart.gap_width <= 0:
        return body
    return smooth_intersection(body, 0.5 * heart.gap_width - np.abs(u - heart.gap_center), 0.04)


def mask_fields(heart: Heart, u: Array, v: Array) -> tuple[Array, Array]:
    """Return signed distances of the heart's outline and of the ventricular septum, for label masks."""
    u, v = _bent(heart, u, v)
    return _outline(heart, u, v), _septum(heart, u, v - _septum_line(heart, u))


def _annulus(heart: Heart, level: float, side: float) -> float:
    """Return v at which a valve plane meets the endocardium on one side (+1 left, -1 right)."""
    v = side * np.linspace(0.15, 0.9, 151)
    depth = _outline(heart, np.full_like(v, level), v) + 0.5 * (heart.wall + heart.atrial_wall)
    return float(v[int(np.argmin(np.abs(depth)))])


def _valve(heart: Heart, u: Array, v: Array, side: float, openness: float) -> tuple[Array, Array]:
    """Return the two leaflets of one atrioventricular valve, and the fibrous ridge at its outer hinge."""
    left = side > 0
    level = heart.mitral_level if left else heart.tricuspid_level
    half_width = 0.5 * (heart.mitral_thickness if left else heart.tricuspid_thickness)
    swing = openness * (heart.mitral_mobility if left else heart.tricuspid_mobility)
    outer = (min(level, 0.35), _annulus(heart, min(level, 0.35), side))
    inner = (level, float(_septum_line(heart, np.array(level)) + side * 0.4 * heart.septum_thickness))
    span = outer[1] - inner[1]
    leaflets = []
    for hinge, share, direction in ((inner, 0.52, 1.0), (outer, 0.50, -1.0)):
        angle = 0.12 + 1.15 * swing
        length = share * abs(span)
        middle = (
            hinge[0] + 0.5 * length * np.sin(0.7 * angle),
            hinge[1] + direction * side * 0.5 * length * np.cos(0.7 * angle),
        )
        tip = (hinge[0] + length * np.sin(angle), hinge[1] + direction * side * length * np.cos(angle))
        leaflets += [segment(u, v, hinge, middle, half_width * 1.2), segment(u, v, middle, tip, half_width)]
    ridge = np.hypot(u - outer[0], v - outer[1] - side * 0.05) - 0.085
    return np.minimum.reduce(leaflets), ridge


def heart_fields(heart: Heart, openness: float, u: Array, v: Array) -> HeartFields:
    """Return everything that the echo depends on.

    Args:
        heart: The heart.
        openness: 0 (valves closed, systole) to 1 (valves wide open, diastole).
        u: Heart coordinates of the points, along the septum.
        v: Heart coordinates of the points, across the septum.
    """
    u, v = _bent(heart, u, v)
    across = v - _septum_line(heart, u)
    outline, septum = _outline(heart, u, v), _septum(heart, u, across)

    ventricular = 1.0 / (1.0 + np.exp(-u / 0.05))
    lumen = outline + heart.atrial_wall + (heart.wall - heart.atrial_wall) * ventricular
    # The left ventricle reaches the apex. The right one ends earlier, because trabeculae fill its apex.
    for side, scale, reach in ((1.0, heart.left_scale, 0.66), (-1.0, heart.right_scale, 0.57)):
        bound = ellipse(u, side * across, ((reach - 0.26) * scale, 0.21 * scale + 0.06), (reach * scale, 0.37 * scale))
        # The bound applies only to the ventricle on this side of the septum, not to the atria.
        bounded = smooth_intersection(lumen, bound, 0.08)
        lumen = np.where((side * across > 0) & (u > 0.0), bounded, lumen)

    mitral, left_ridge = _valve(heart, u, v, 1.0, openness)
    tricuspid, right_ridge = _valve(heart, u, v, -1.0, openness)
    band_start = (heart.band_position, float(_septum_line(heart, np.array(heart.band_position))))
    band = segment(u, v, band_start, (heart.band_position + 0.14, band_start[1] - 0.42), 0.024)

    line = float(_septum_line(heart, np.array(0.0)))
    half = 0.5 * heart.atrial_septum_thickness
    lower, upper = heart.foramen_center + 0.5 * heart.foramen_width, heart.foramen_center - 0.5 * heart.foramen_width
    roof = (-2.0 * heart.atria_half_length, line + heart.atrial_shift)
    atrial = [segment(u, v, roof, (upper, line + 0.5 * heart.atrial_shift), half)]
    if -heart.primum_gap > lower:
        atrial.append(segment(u, v, (lower, line), (-heart.primum_gap, line), half))
    flap_tip = (heart.foramen_center, line + heart.flap_bulge)
    flap = np.minimum(
        segment(u, v, (upper, line + 0.5 * heart.atrial_shift), flap_tip, 0.012),
        segment(u, v, flap_tip, (lower + 0.02, line + 0.03), 0.012),
    )
    solid = np.minimum.reduce([septum, left_ridge, right_ridge, band, *atrial])
    dropout = heart.dropout_depth * np.exp(-(((u - heart.dropout_center) / 0.09) ** 2))
    return HeartFields(
        outline=outline,
        septum=septum,
        blood=smooth_intersection(lumen, -solid, 0.09),
        leaflets=np.minimum.reduce([mitral, tricuspid, flap]),
        dropout=dropout * (np.abs(across) < 0.12),
    )
