"""The embedded data set ``known-effects``: 4,000 rendered images whose effects are known by construction.

It is a control for the harness, never a stand-in for photographs. 128 x 128 px, 10 classes = 5 coarse shapes x 2 fine
textures; 2,000 images train, 1,000 choose (``select``), 1,000 confirm (``test``); every class is equally frequent.

What must happen, and why:

1. **Resolution helps, with known ceilings: 50% at 32 px, 80% at 64 px, 100% at 128 px.** The two classes of a shape
   differ in nothing but the orientation of a grating over the whole image (``rows`` or ``columns``); its phase is
   random. Antialiased (triangle) resampling by a factor s passes a frequency f with gain sinc^2(s f), which is zero at
   s f = 1. Three shapes carry a period of about 4 px: zero at 32 px, nearly half at 64 px. Two carry a period of about
   2 px: zero at 64 px and at 32 px, untouched at 128 px. Shapes and their hues survive at 32 px. This holds for whole
   images resampled once from 128 px: store them at 128 px (``data.size = 128``), since a stored size in between
   shifts the frequencies, and evaluate whole images (``eval_crop = 1``).
2. **Normalization matters without batch norm, and hardly with it.** Each image has its own contrast (a factor of 0.3
   to 1, log-uniform) and brightness, bright on average: raw pixels are far from zero mean and unit deviation. Where a
   convolution is followed by batch norm, BN(conv(w, a x + b)) = BN(conv(w, x)) for every w, a > 0 and b, but for zero
   padding at the border (if b is not 0) and BN's epsilon: outputs and gradients are the same. So with batch norm the
   levels ``none`` and ``unit`` (a = 1/255, b = 0) are the factor that must have no effect; ``symmetric`` and
   ``dataset`` also move what zero padding means, which is a small effect and none of the network's inside. With layer
   norm (ConvNeXt, ViT) a large common offset drowns the picture, and normalization by the data set's statistics helps.
   Weight standardization (NFNet) removes the offset by itself and is no example of it.
3. **Wrong labels punish certainty.** 15% of the training labels, and no others, are replaced by another class. Only
   training that is long enough to fit them loses negative log-likelihood and calibration on the clean splits, and
   then a method that resists fitting them loses less: Mixup in both, label smoothing in calibration. Tens of epochs
   on a fraction of the images without random crops do it. A few epochs on all of them do not reach this regime:
   there, an honest report finds no gain.
4. **Scale and place vary.** The object's radius varies by a factor of 2 and its centre is uniform, so random resized
   crops and several test sizes mean something.
5. **Zoomed views at test time help at 64 px.** A view of the central 70% is resampled by s = 1.4 instead of 2, and a
   frequency f passes with a gain of sinc^2(1.4 f): for a period of 4 px 0.7 instead of 0.4, for one of 2 px 0.13 (in an
   alias) instead of nothing. So views at several zooms (``tta = "multi-scale"``) show gratings that the plain view
   hides, to a network that has seen such zooms in its random crops.
6. **A small learning rate after the resolution rises hurts at the new one.** What 32 px teach cannot tell the two
   classes of a shape apart, so all of that is still to be learned after the rise.
7. **Mirroring keeps the class.** Shapes are their own mirror image, and a mirrored grating is the same one at another
   phase: flips are valid in training and at test time.

Pixels come from integer arithmetic on the raw output of Philox (Salmon et al. 2011, doi:10.1145/2063384.2063405) keyed
by the image's index, so they are the same on every platform and in any order.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from pathlib import Path

import numpy as np

CONSTRUCTION = 2
"""Version of the construction. It is part of every image's content digest: a change renders new data."""

SIDE = 128
SHAPES = ("cross", "disc", "ring", "square", "triangle")
TEXTURES = ("columns", "rows")
CLASSES = tuple(f"{shape}-{texture}" for shape in SHAPES for texture in TEXTURES)
COUNTS = {"train": 2000, "select": 1000, "test": 1000}
WRONG_LABELS_PERCENT = 15

FINE_SHAPES = (2, 4)
"""Shapes (indices) whose gratings are visible at 128 px only; those of the others are visible at 64 px too."""

_PERIODS_MILLIPIXELS = {False: (4050, 4250), True: (1970, 2070)}
_AMPLITUDES = {False: 56, True: 44}
_RADII = tuple(round(26 * 2 ** (k / 15)) for k in range(16))
_GAINS = tuple(round(1024 * 0.3 ** (k / 63)) for k in range(64))
_KEY = 0x6B6E6F776E ^ (CONSTRUCTION << 64)
_DRAWS = 32
_NOISE_WORDS = SIDE * SIDE * 3 // 8
_TURN = 1 << 16

_WAVE = np.array([round(1024 * math.cos(2 * math.pi * k / 1024)) for k in range(1024)], dtype=np.int32)
_AXIS = np.arange(SIDE, dtype=np.int32)
# The gratings fade out towards the border: there a resampling filter is cut off and would let a trace of them through.
_FADE = np.array(
    [round(512 - 512 * math.cos(math.pi * min(k + 0.5, SIDE - 0.5 - k, 16) / 16)) for k in range(SIDE)], dtype=np.int32
)
_GRID = 5
_LINEAR = np.zeros((SIDE, _GRID), dtype=np.int32)
for _pixel in range(SIDE):
    _cell, _part = divmod(_pixel * (_GRID - 1), SIDE)
    _LINEAR[_pixel, _cell : _cell + 2] = SIDE - _part, _part


def split_of(index: int) -> str:
    """The split of an image: ``train``, ``select`` or ``test``.

    Raises:
        IndexError: if there is no such image.
    """
    first = 0
    for split, count in COUNTS.items():
        if first <= index < first + count:
            return split
        first += count
    raise IndexError(f"known-effects has images 0 to {first - 1}, not {index}")


def true_class(index: int) -> int:
    """The class that is shown in an image, an index into ``CLASSES``."""
    return index % len(CLASSES)


def given_class(index: int) -> int:
    """The class an image is labelled with: the true one but for 15% of the training images."""
    true = true_class(index)
    if split_of(index) != "train":
        return true
    chance, other = (int(word) for word in _bits(index, 2))
    if _below(chance, 100) >= WRONG_LABELS_PERCENT:
        return true
    return (true + 1 + _below(other, len(CLASSES) - 1)) % len(CLASSES)


def render(index: int) -> np.ndarray:
    """Draw one image.

    Args:
        index: 0 to 3,999; the split and the class follow from it.

    Returns:
        uint8 [128, 128, 3].
    """
    split_of(index)
    words = _bits(index, _DRAWS + _NOISE_WORDS)
    draws = [int(word) for word in words[2:_DRAWS]]
    shape, texture = divmod(true_class(index), len(TEXTURES))

    radius = _RADII[_below(draws[0], len(_RADII))]
    margin = radius * 3 // 4
    span = SIDE - 2 * margin
    across = _AXIS - (margin + _below(draws[1], span))
    down = (_AXIS - (margin + _below(draws[2], span)))[:, None]
    inside = _mask(SHAPES[shape], across, down, radius)

    fine = shape in FINE_SHAPES
    low, high = _PERIODS_MILLIPIXELS[fine]
    period = low + _below(draws[3], high - low + 1)
    angle = _AXIS * (_TURN * 1000 // period) + _below(draws[4], _TURN)
    grating = _AMPLITUDES[fine] * _wave(angle) * _FADE >> 10
    grating = grating[None, :] if TEXTURES[texture] == "columns" else grating[:, None]

    hue = shape * _TURN // len(SHAPES) + _below(draws[5], _TURN // 5) - _TURN // 10
    object_colour = 44 * _hues(hue)
    ground_colour = 12 * _hues(_below(draws[6], _TURN))
    bumps = np.array([_below(draw, 65) - 32 for draw in draws[8:30]] + [0, 0, 0], dtype=np.int32)
    ground = _LINEAR @ bumps.reshape(_GRID, _GRID) @ _LINEAR.T >> 4  # integers: exact in any order of summation

    # 1024 units are one grey level at full contrast.
    picture = np.where(inside[:, :, None], object_colour, ground[:, :, None] + ground_colour) + grating[:, :, None]
    noise = words[_DRAWS:].astype("<u8", copy=False).view(np.uint8).reshape(SIDE, SIDE, 3)
    picture += (noise.astype(np.int32) - 128) * 96

    gain = _GAINS[_below(draws[7], len(_GAINS))]
    reach = gain * 118 // 1024
    brightness = reach + max(_below(word, 256 - 2 * reach) for word in (int(words[30]), int(words[31])))
    picture = (picture >> 4) * gain >> 16
    picture += brightness
    pixels: np.ndarray = np.clip(picture, 0, 255).astype(np.uint8)
    return pixels


def fingerprint() -> str:
    """SHA-256 over the pixels of an image per class and split, and over all labels: what is drawn decides it alone."""
    total, first = hashlib.sha256(), 0
    for count in COUNTS.values():
        for index in range(first, first + min(count, len(CLASSES))):
            total.update(render(index).tobytes())
        first += count
    total.update(bytes(given_class(index) for index in range(first)))
    return total.hexdigest()


def write_folder(out: Path) -> None:
    """Write all images as an image folder, so that any other tool can train on them.

    The layout is ``train/<class>/*.png``, ``val/<class>/*.png`` (the select split) and ``test/<class>/*.png``; training
    images lie in the folder of the label they are given, wrong ones included.
    """
    from PIL import Image

    for index in range(sum(COUNTS.values())):
        target = out / path_of(index).replace("select/", "val/", 1)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(render(index)).save(target)


def path_of(index: int) -> str:
    """The name of an image: ``<split>/<class it is labelled with>/<index>.png``."""
    return f"{split_of(index)}/{CLASSES[given_class(index)]}/{index:05d}.png"


def _bits(index: int, words: int) -> np.ndarray:
    raw: np.ndarray = np.random.Philox(key=_KEY + (index << 72)).random_raw(words)
    return raw


def _below(word: int, bound: int) -> int:
    """A number in [0, bound) from the upper 32 bits of a word (Lemire's multiplication, without rejection)."""
    return (word >> 32) * bound >> 32


def _wave(angle: np.ndarray) -> np.ndarray:
    heights: np.ndarray = _WAVE[(angle & (_TURN - 1)) >> 6]
    return heights


@lru_cache(maxsize=1)
def _thirds() -> np.ndarray:
    return np.array([0, _TURN // 3, 2 * _TURN // 3], dtype=np.int32)


def _hues(angle: int) -> np.ndarray:
    """The red, green and blue of a fully saturated hue around grey, each -1024 to 1024."""
    return _wave(angle - _thirds())


def _mask(shape: str, across: np.ndarray, down: np.ndarray, radius: int) -> np.ndarray:
    """Where an object is, bool [128, 128]; each shape is its own mirror image about its vertical axis."""
    wide, tall = np.abs(across), np.abs(down)
    inside: np.ndarray
    if shape == "square":
        inside = (wide * 8 <= radius * 7) & (tall * 8 <= radius * 7)
    elif shape == "cross":
        inside = ((wide * 8 <= radius * 3) & (tall <= radius)) | ((tall * 8 <= radius * 3) & (wide <= radius))
    elif shape == "triangle":
        inside = (wide * 2 <= down + radius) & (down * 8 <= radius * 7)
    else:
        away = across * across + down * down
        inside = away <= radius * radius
        if shape == "ring":
            inside &= away * 5 >= radius * radius
    return inside
