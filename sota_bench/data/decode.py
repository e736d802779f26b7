"""One image file to upright RGB pixels, scaled down for the cache; the only place where image files are decoded."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image as PIL

MAX_PIXELS = 100_000_000
"""Most pixels that a decoder may produce for one image, after a JPEG's own scaling; more is refused by name."""

MAX_DECLARED_PIXELS = 1_000_000_000
"""Most pixels that a baseline JPEG may declare: it decodes at an eighth of that, strip by strip."""

LARGEST_ASPECT = 2
"""The longer side is cut, centrally, at this many times the shorter side."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")


class BadImage(Exception):
    """A file that cannot be used as an image; the text says why."""


def check_header(data: bytes) -> tuple[int, int]:
    """Look at an image file, without decoding its pixels where the format shows in another way that it is whole.

    Args:
        data: the whole file.

    Returns:
        Height and width in pixels as stored.

    Raises:
        BadImage: not an image of a supported format, damaged, cut off, or too large to decode.
    """
    if not data:
        raise BadImage("the file is empty")
    image = _open(data)
    shape = image.height, image.width
    try:
        if image.format == "PNG":
            image.verify()  # walks the chunks and their checksums: cheap, and finds a cut-off file
        elif image.format != "JPEG":
            image.load()  # rarer formats have no such mark of a whole file
        elif b"\xff\xd9" not in data[-4096:]:
            image.draft(image.mode, (1, 1))
            image.load()  # no end marker: cut off, unless the pixels are all there
    except Exception as error:  # a decoder may raise anything on damaged input
        raise BadImage(f"damaged: {_reason(error)}") from None
    return shape


def decode_image(data: bytes, size: int) -> np.ndarray:
    """Decode an image file and scale it down.

    A JPEG is first scaled by its own discrete cosine transform (Pillow's draft mode: 1/2, 1/4 or 1/8) while that stays
    at least twice as large as asked, and then resampled with an antialiasing triangle filter, as torchvision does with
    ``antialias=True``. EXIF orientation is applied, animations give their first frame, 16-bit samples are scaled to 8
    bits, transparency is laid on black, and grayscale, palette and CMYK become RGB.

    Args:
        data: the whole file.
        size: the shorter side wanted, in pixels; a smaller image keeps its own size.

    Returns:
        uint8 [h, w, 3]; min(h, w) == min(size, shorter side as stored), max(h, w) <= 2 min(h, w).

    Raises:
        BadImage: damaged, cut off, or too large to decode.
    """
    from PIL import ImageOps

    if not data:
        raise BadImage("the file is empty")
    image = _open(data)
    try:
        shorter = min(image.size)
        if shorter > 2 * size:
            image.draft(image.mode, (image.width * 2 * size // shorter, image.height * 2 * size // shorter))
        if image.width * image.height > MAX_PIXELS:
            raise BadImage(f"too large: {image.width} x {image.height} pixels to decode, the limit is {MAX_PIXELS:,}")
        image.load()
        image = _rgb(ImageOps.exif_transpose(image))
    except BadImage:
        raise
    except Exception as error:  # a decoder may raise anything on damaged input
        raise BadImage(f"damaged: {_reason(error)}") from None
    return scale_down(image, size)


def scale_down(image: PIL.Image, size: int) -> np.ndarray:
    """Cut an RGB image's longer side centrally at twice the shorter, and shrink the shorter side to ``size``.

    Args:
        image: a PIL image in mode RGB.
        size: pixels.

    Returns:
        uint8 [h, w, 3].
    """
    from PIL import Image

    width, height = image.size
    shorter = min(width, height)
    wide, tall = min(width, LARGEST_ASPECT * shorter), min(height, LARGEST_ASPECT * shorter)
    left, top = (width - wide) // 2, (height - tall) // 2
    target = min(size, shorter)
    out = (max(target, round(wide * target / shorter)), max(target, round(tall * target / shorter)))
    box = (left, top, left + wide, top + tall)
    if box != (0, 0, width, height) or out != image.size:
        image = image.resize(out, Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
    return np.asarray(image)


def _open(data: bytes) -> PIL.Image:
    from PIL import Image

    # Pillow's own guard refuses from twice this number on; the limits below come first and say which file it is.
    Image.MAX_IMAGE_PIXELS = MAX_DECLARED_PIXELS
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise BadImage(f"too large: {_reason(error)}") from None
    except Exception as error:
        raise BadImage(f"not a readable image: {_reason(error)}") from None
    declared = image.width * image.height
    if declared == 0:
        raise BadImage("the image has no pixels")
    in_strips = image.format == "JPEG" and not image.info.get("progressive")
    limit = MAX_DECLARED_PIXELS if in_strips else MAX_PIXELS
    if declared > limit:
        raise BadImage(f"too large: {image.width} x {image.height} pixels, the limit is {limit:,}")
    return image


def _rgb(image: PIL.Image) -> PIL.Image:
    """An image of any mode as RGB."""
    from PIL import Image

    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
        samples = np.asarray(image).astype(np.float64)
        top = 65535.0 if image.mode.startswith("I;") or samples.max(initial=0) > 255 else 255.0
        image = Image.fromarray(np.clip(np.rint(samples * (255.0 / top)), 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
