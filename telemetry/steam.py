"""The saturation line of water: IAPWS-IF97 region 4."""

import math
from typing import Any, overload

import numpy as np
import numpy.typing as npt

# Table 34 of the Revised Release on IAPWS-IF97 (2007), coefficients n1..n10.
_N = (
    0.11670521452767e4,
    -0.72421316703206e6,
    -0.17073846940092e2,
    0.12020824702470e5,
    -0.32325550322333e7,
    0.14915108613530e2,
    -0.48232657361591e4,
    0.40511340542057e6,
    -0.23855557567849,
    0.65017534844798e3,
)
LOWEST_MPA = 611.213e-6
CRITICAL_MPA = 22.064


@overload
def saturation_temperature(pressure: float) -> float: ...
@overload
def saturation_temperature(pressure: npt.NDArray[Any]) -> npt.NDArray[np.float64]: ...
def saturation_temperature(pressure: float | npt.NDArray[Any]) -> float | npt.NDArray[np.float64]:
    """Boiling temperature in °C at an absolute pressure in MPa (IF97 equation 31); NaN outside 611 Pa..22.064 MPa."""
    if isinstance(pressure, np.ndarray):
        inside = (pressure >= LOWEST_MPA) & (pressure <= CRITICAL_MPA)
        beta = np.where(inside, pressure, 1.0) ** 0.25
        d = _d(beta)
        kelvin = 0.5 * (_N[9] + d - np.sqrt((_N[9] + d) ** 2 - 4.0 * (_N[8] + _N[9] * d)))
        return np.where(inside, kelvin - 273.15, np.nan)
    if not LOWEST_MPA <= pressure <= CRITICAL_MPA:
        return math.nan
    d = _d(pressure**0.25)
    return 0.5 * (_N[9] + d - math.sqrt((_N[9] + d) ** 2 - 4.0 * (_N[8] + _N[9] * d))) - 273.15


def _d(beta: Any) -> Any:
    e = beta * beta + _N[2] * beta + _N[5]
    f = _N[0] * beta * beta + _N[3] * beta + _N[6]
    g = _N[1] * beta * beta + _N[4] * beta + _N[7]
    return 2.0 * g / (-f - (f * f - 4.0 * e * g) ** 0.5)
