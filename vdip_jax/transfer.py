"""Stored values and light: a photograph's numbers are not proportional to the light that a blur mixes."""

import numpy as np

# Below that sRGB is linear.
_LINEAR_STORED, _LINEAR_LIGHT, _LINEAR_SLOPE = 0.04045, 0.0031308, 12.92
TRANSFERS = ("none", "srgb")


def to_light(stored: np.ndarray, transfer: str) -> np.ndarray:
    """Stored values in [0, 1] as light in [0, 1], of the same type: by the curve of sRGB (IEC 61966-2-1), or as is."""
    if transfer == "none":
        return stored
    curved = ((np.maximum(stored, _LINEAR_STORED) + 0.055) / 1.055) ** 2.4
    return np.where(stored <= _LINEAR_STORED, stored / _LINEAR_SLOPE, curved).astype(stored.dtype)


def to_stored(light: np.ndarray, transfer: str) -> np.ndarray:
    """The inverse of `to_light`."""
    if transfer == "none":
        return light
    curved = 1.055 * np.maximum(light, _LINEAR_LIGHT) ** (1 / 2.4) - 0.055
    return np.where(light <= _LINEAR_LIGHT, light * _LINEAR_SLOPE, curved).astype(light.dtype)


def spread_as_stored(light: np.ndarray, std: np.ndarray, transfer: str) -> np.ndarray:
    """A standard deviation of light as one of stored values: half of what a step to both sides makes, within [0, 1]."""
    if transfer == "none":
        return std
    above, below = np.minimum(light + std, 1), np.maximum(light - std, 0)
    return (to_stored(above, transfer) - to_stored(below, transfer)) / 2
