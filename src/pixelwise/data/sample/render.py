"""From a planned town to an aerial picture: paint, shadows, crowns, light, lens and sensor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pixelwise.data.sample.canvas import Canvas
from pixelwise.data.sample.crowns import plant_crowns
from pixelwise.data.sample.paint import Sun, paint_town
from pixelwise.data.sample.plan import Town
from pixelwise.types import Labels

Field = NDArray[np.float32]
_PERIOD = 1024  # the noise fields repeat after this many pixels
_MARGIN = 6  # pixels around the window that the lens blur may look at


@dataclass(frozen=True)
class Weather:
    """The conditions under which one picture is taken."""

    sun: Sun
    shade: tuple[float, float, float]  # light left in the shadows, per channel
    gain: tuple[float, float, float]  # colour cast and exposure
    haze: float
    gamma: float
    saturation: float
    blur: float  # standard deviation of the lens, in pixels
    noise: float  # standard deviation of the sensor, in counts of 255
    season: float  # 0..1, the leaf colours
    offset: tuple[int, int]  # where the noise fields start


def draw_weather(rng: np.random.Generator) -> Weather:
    """Conditions drawn at random."""
    # Light comes from the south, give or take some hours, so shadows fall upwards.
    azimuth, elevation = rng.uniform(-2.5, -0.64), rng.uniform(0.7, 1.05)
    light = rng.uniform(0.3, 0.48)
    shade = light * np.array([0.92, 1.0, 1.14])
    gain = np.exp(rng.normal(0.0, 0.08)) * np.exp(rng.normal(0.0, 0.035, size=3))
    x, y = rng.integers(0, _PERIOD, size=2)
    return Weather(
        sun=Sun(float(np.cos(azimuth)), float(np.sin(azimuth)), float(1 / np.tan(elevation))),
        shade=(float(shade[0]), float(shade[1]), float(shade[2])),
        gain=(float(gain[0]), float(gain[1]), float(gain[2])),
        haze=float(rng.uniform(0.0, 0.08)),
        gamma=float(rng.uniform(0.85, 1.1)),
        saturation=float(rng.uniform(0.8, 1.2)),
        blur=float(rng.uniform(0.4, 0.8)),
        noise=float(rng.uniform(1.0, 5.0)),
        season=float(rng.uniform()),
        offset=(int(x), int(y)),
    )


def render(
    town: Town, weather: Weather, *, left: int, top: int, width: int, height: int
) -> tuple[NDArray[np.uint8], Labels]:
    """Picture [H, W, 3] and labels [H, W] of a window of the town.

    Neighbouring windows in the same weather fit together without a seam.
    """
    wide = Canvas(left - _MARGIN, top - _MARGIN, width + 2 * _MARGIN, height + 2 * _MARGIN, town.ground)
    paint_town(town, wide, weather.sun)
    fields = _Fields(wide, weather)
    scene = _lit(wide, fields, weather)
    labels = wide.labels()
    plant_crowns(town.crowns, wide, weather.sun, weather.season, scene, labels, fields.fine())
    picture = _photograph(scene, fields, weather)
    inner = slice(_MARGIN, -_MARGIN)
    return np.ascontiguousarray(picture[inner, inner]), np.ascontiguousarray(labels[inner, inner])


@lru_cache(maxsize=1)
def _noise() -> tuple[Field, Field, Field, Field, Field]:
    """Periodic noise of unit variance: white, speckle, blotch and the two slopes of a bumpy ground."""
    rng = np.random.default_rng(20240229)
    white = rng.standard_normal((_PERIOD, _PERIOD), dtype=np.float32)

    def smooth(sigma: float) -> Field:
        base = rng.standard_normal((_PERIOD, _PERIOD), dtype=np.float32)
        return _unit(ndimage.gaussian_filter(base, sigma, mode="wrap", truncate=3.0))

    blotch = _unit(smooth(9.0) * 0.7 + smooth(24.0))
    ground = smooth(3.6)
    slope_x = _unit(np.roll(ground, -1, axis=1) - np.roll(ground, 1, axis=1))
    slope_y = _unit(np.roll(ground, -1, axis=0) - np.roll(ground, 1, axis=0))
    return white, smooth(1.6), blotch, slope_x, slope_y


def _unit(field: Field) -> Field:
    scaled: Field = ((field - field.mean()) / field.std()).astype(np.float32)
    return scaled


class _Fields:
    """The noise under one window, anchored in the town so that windows fit together."""

    def __init__(self, canvas: Canvas, weather: Weather) -> None:
        self._rows = (np.arange(canvas.height) + canvas.top + weather.offset[1]) % _PERIOD
        self._columns = (np.arange(canvas.width) + canvas.left + weather.offset[0]) % _PERIOD

    def get(self, number: int) -> Field:
        return _noise()[number][self._rows][:, self._columns]

    def sensor(self, channel: int) -> Field:
        """White noise that has nothing to do with the grain of the ground or with the other channels."""
        return _noise()[0].T[(self._rows + 137 * channel) % _PERIOD][:, self._columns]

    def fine(self) -> Field:
        return self.get(0) * np.float32(0.05) + self.get(1) * np.float32(0.06)


def _lit(canvas: Canvas, fields: _Fields, weather: Weather) -> Field:
    """The ground and the roofs [H, W, 3] in sun and shadow."""
    numbers, table = canvas.materials()
    grain, speckle, blotch, relief, stripe, kx, ky, warp = (table[:, 3 + i][numbers] for i in range(8))
    blotches = fields.get(2)
    pattern = grain * fields.get(0)
    pattern += speckle * fields.get(1)
    pattern += blotch * blotches
    sun = weather.sun
    pattern += relief * (fields.get(3) * np.float32(sun.x) + fields.get(4) * np.float32(sun.y))
    x = np.arange(canvas.width, dtype=np.float32) + canvas.left
    y = np.arange(canvas.height, dtype=np.float32)[:, None] + canvas.top
    wave = kx * x
    wave += ky * y
    wave += warp * blotches
    np.sin(wave, out=wave)
    pattern += stripe * wave
    pattern += 1
    np.clip(pattern, 0.3, 1.8, out=pattern)
    shadow = canvas.shadow()
    scene = np.empty((*numbers.shape, 3), np.float32)
    for channel in range(3):
        light = pattern * (1 - shadow * np.float32(1 - weather.shade[channel]))
        scene[..., channel] = table[:, channel][numbers] * light
    return scene


def _photograph(scene: Field, fields: _Fields, weather: Weather) -> NDArray[np.uint8]:
    """What the camera makes of the lit scene: uint8 [H, W, 3]."""
    grey = scene.mean(axis=2)
    picture = np.empty(scene.shape, np.uint8)
    for channel in range(3):
        band = grey + (scene[..., channel] - grey) * np.float32(weather.saturation)
        band = ndimage.gaussian_filter(band, weather.blur, truncate=3.0)
        band *= np.float32(weather.gain[channel] * (1 - weather.haze))
        band += np.float32(weather.haze * (0.7 + 0.05 * channel))
        np.clip(band, 0.004, 1.0, out=band)
        np.power(band, np.float32(weather.gamma), out=band)
        band *= 255
        band += fields.sensor(channel) * np.float32(weather.noise)
        picture[..., channel] = np.clip(np.rint(band), 0, 255)
    return picture
