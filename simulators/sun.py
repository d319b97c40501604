"""Where the sun stands, and how much of a clear sky's light falls on a tilted roof."""

import math

SPRING_DAY = 110.0
LATITUDE_DEG = 31.2
TILT_DEG = 22.0  # towards the equator
ALBEDO = 0.2
_DIFFUSE = 0.15  # share of the horizontal irradiance under a clear sky


def tilted_irradiance(local_s: float, day_of_year: float = SPRING_DAY) -> float:
    """Clear-sky irradiance in W/m² on the modules at a local solar time (seconds; any day).

    Declination after Cooper (1969), horizontal irradiance after Haurwitz (1945), sky taken as isotropic (Liu and Jordan)."""
    declination = math.radians(23.45) * math.sin(2.0 * math.pi * (284.0 + day_of_year) / 365.0)
    hour_angle = math.radians(15.0) * (local_s / 3600.0 - 12.0)
    latitude, tilt = math.radians(LATITUDE_DEG), math.radians(TILT_DEG)

    def cosine(equivalent_latitude: float) -> float:
        return math.sin(equivalent_latitude) * math.sin(declination) + math.cos(equivalent_latitude) * math.cos(
            declination
        ) * math.cos(hour_angle)

    zenith = cosine(latitude)
    if zenith <= 0.01:
        return 0.0
    horizontal = 1098.0 * zenith * math.exp(-0.059 / zenith)
    # A surface tilted towards the equator sees the sun as a level one does, further south by its tilt.
    beam = (1.0 - _DIFFUSE) * horizontal * max(0.0, cosine(latitude - tilt)) / max(zenith, 0.05)
    diffuse = _DIFFUSE * horizontal * (1.0 + math.cos(tilt)) / 2.0
    return beam + diffuse + ALBEDO * horizontal * (1.0 - math.cos(tilt)) / 2.0
