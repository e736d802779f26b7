"""One image file to upright RGB pixels, scaled down for the cache; the only place where image files are decoded."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from PIL import Image as PIL

MAX_PIXELS = 100_000_000
"""Most pixels that a decoder may produce for one image, after a JPEG's own scaling; more is refused by name."""

MAX_DECLARED_PIXELS = 1_000_000_000
"""Most pixels that a baseline JPEG may declare: it decodes at an eighth of that, strip by strip."""

LARGEST_ASPECT = 2
"""The longer side is cut, centrally, at this many times the shorter side."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "HEIF")

BACKGROUND = 0
"""Transparent pixels lie on black, whatever colour the file keeps below them."""

INTEGER_RANGES = (255, 1023, 4095, 16383, 65535)
"""White of images with more than 8 bits: the smallest of these that holds every value of the data set."""

_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
THUMBNAIL = (8, 9)
"""Height and width of what is kept of each image's look."""

_SMALLEST = (64, 64)
"""A JPEG is read at no smaller size than this: at a quarter of it, scaled copies differ by their borders."""

_ZEROS = 512
"""So many zero bytes at the end of a JPEG without an end mark are no picture, but a download that broke off."""

_NOT_IMAGES = {
    b"version https://git-lfs": "a Git LFS pointer instead of the file; `git lfs pull` fetches it",
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<?xml": "XML",
    b"<svg": "SVG, which has no pixels",
    b"%pdf": "PDF",
}


class BadImage(Exception):
    """A file that cannot be used as an image; the text says why."""


class ImageFacts(NamedTuple):
    """What a scan needs to know of an image.

    Attributes:
        height, width: pixels, as stored.
        low, high: the least and the largest sample of an image with more than 8 bits; NaN for others.
        thumbnail: ``THUMBNAIL`` grey levels, row by row, by which near copies are found.
    """

    height: int
    width: int
    low: float
    high: float
    thumbnail: bytes


def inspect_image(data: bytes) -> ImageFacts:
    """Read an image file to its end, at the smallest size that its format offers.

    Args:
        data: the whole file.

    Raises:
        BadImage: not an image of a supported format, damaged, cut off, or too large to decode.
    """
    if not data:
        raise BadImage("the file is empty")
    image = _open(data)
    height, width = image.height, image.width
    try:
        if image.format in ("JPEG", "MPO"):
            if not data.rstrip(b"\0").endswith(b"\xff\xd9") and data.endswith(bytes(_ZEROS)):
                raise BadImage("damaged: its end is missing and filled with zeros")
            image.draft("L", _SMALLEST)
        samples = deep_samples(image, data)
        if samples is None:
            image.load()
            return ImageFacts(height, width, math.nan, math.nan, _thumbnail(image))
    except BadImage:
        raise
    except Exception as error:  # a decoder may raise anything on damaged input
        raise BadImage(f"damaged: {_reason(error)}") from None
    finite = samples[np.isfinite(samples)]
    if not finite.size:
        raise BadImage("damaged: it holds no number")
    low, high = float(finite.min()), float(finite.max())
    return ImageFacts(height, width, low, high, _thumbnail(_scaled(samples, (low, max(high, low + 1e-9)))))


def pixel_range(low: float, high: float) -> tuple[float, float]:
    """The values that become black and white, for images with more than 8 bits whose samples lie in [low, high].

    Whole numbers from 0 get a range that such images usually have (10, 12, 14 or 16 bits), fractions from 0 to 1 keep
    theirs, and anything else is stretched from its least to its largest value.
    """
    if low >= 0:
        if high <= 1 and not (low.is_integer() and high.is_integer()):
            return 0.0, 1.0
        for top in INTEGER_RANGES:
            if high <= top:
                return 0.0, float(top)
    return low, high if high > low else low + 1.0


def _thumbnail(image: PIL.Image) -> bytes:
    """An image as a few grey levels, each the mean of its part."""
    from PIL import Image

    height, width = THUMBNAIL
    return image.convert("L").resize((width, height), Image.Resampling.BOX).tobytes()


def decode_image(data: bytes, size: int, scale: tuple[float, float] | None = None) -> np.ndarray:
    """Decode an image file and scale it down.

    A JPEG is first scaled by its own discrete cosine transform (Pillow's draft mode: 1/2, 1/4 or 1/8) while that stays
    at least twice as large as asked, and then resampled with an antialiasing bicubic filter, as torchvision does with
    ``antialias=True``. EXIF orientation is applied, animations give their first frame, transparency is laid on black,
    and grayscale, palette and CMYK become RGB.

    Args:
        data: the whole file.
        size: the shorter side wanted, in pixels; a smaller image keeps its own size.
        scale: for an image with more than 8 bits, the values that become black and white; 0 to 65,535 (or what
            ``pixel_range`` says of this image alone, where its samples are no whole numbers) by default.

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
        exif = image.getexif()
        samples = deep_samples(image, data)
        if samples is None:
            image.load()
        else:
            image = _scaled(samples, scale or _own_scale(image.mode, samples))
            image.info["exif"] = exif.tobytes() if exif else b""
        image = _rgb(ImageOps.exif_transpose(image))
    except BadImage:
        raise
    except Exception as error:  # a decoder may raise anything on damaged input
        raise BadImage(f"damaged: {_reason(error)}") from None
    return scale_down(image, size)


def deep_samples(image: PIL.Image, data: bytes) -> np.ndarray | None:
    """The samples of an image with more than 8 bits, float64 [H, W] or [H, W, channels]; None for any other image.

    Pillow reads one channel of 16 or 32 bits; for colours of 16 bits it keeps the upper 8 alone, so torchvision reads
    those of a PNG, and tifffile those of a TIFF.

    Raises:
        BadImage: a TIFF with several deep channels, and tifffile is not installed.
    """
    if "samples" in image.info:
        samples: np.ndarray = image.info["samples"]
        return samples
    if image.mode in _DEEP_MODES:
        return np.asarray(image).astype(np.float64)
    if image.format == "PNG" and data[24:25] == b"\x10":
        import torch
        from torchvision.io import ImageReadMode, decode_png

        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        pixels: np.ndarray = decode_png(encoded, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy().astype(np.float64)
        return pixels
    if image.format == "TIFF" and max(np.atleast_1d(image.tag_v2.get(258, 8))) > 8:  # type: ignore[attr-defined]
        return _tiff_samples(data)
    return None


def _tiff_samples(data: bytes) -> np.ndarray:
    """The samples of a TIFF's first page, float64.

    Raises:
        BadImage: tifffile is not installed.
    """
    try:
        from tifffile import imread
    except ImportError:
        reason = 'needs tifffile: colours of more than 8 bits; python -m pip install "sota-bench[formats]"'
        raise BadImage(reason) from None
    return np.asarray(imread(io.BytesIO(data), key=0)).astype(np.float64)


def _deep_tiff(data: bytes) -> PIL.Image | None:
    """A TIFF that Pillow cannot read, such as one of colours as floating-point numbers; None for anything else."""
    from PIL import Image

    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    try:
        samples = _tiff_samples(data)
    except BadImage:
        raise
    except Exception:  # a decoder may raise anything on damaged input
        return None
    if samples.ndim not in (2, 3) or not samples.size:
        return None
    image = Image.new("L", (samples.shape[1], samples.shape[0]))
    image.info["samples"] = samples
    return image


def _own_scale(mode: str, samples: np.ndarray) -> tuple[float, float]:
    """The scale of an image of which nothing else is known."""
    if mode.startswith("I;"):
        return 0.0, 65535.0
    return pixel_range(float(np.nanmin(samples)), float(np.nanmax(samples)))


def _scaled(samples: np.ndarray, scale: tuple[float, float]) -> PIL.Image:
    """Samples as an image of 8 bits; what is outside the scale, or no number, is cut off at its ends."""
    from PIL import Image

    low, high = scale
    levels = np.nan_to_num((samples - low) * (255.0 / (high - low)), nan=0.0, posinf=255.0, neginf=0.0)
    pixels = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    if pixels.ndim == 3:
        pixels = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels[:, :, :4]
        if pixels.shape[2:] == (2,):
            return Image.fromarray(pixels, "LA")
    return Image.fromarray(pixels)


def scale_down(image: PIL.Image, size: int, resampling: PIL.Resampling | None = None) -> np.ndarray:
    """Cut an RGB image's longer side centrally at twice the shorter, and shrink the shorter side to ``size``.

    Args:
        image: a PIL image in mode RGB.
        size: pixels.
        resampling: Pillow's filter; bicubic by default. Crops of the result are resized with a triangle filter, and
            bicubic blurs so little beside it that both steps give nearly what the second one alone would: predictions
            agree more often with those of a transform that resizes once, as timm's does.

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
        filter = Image.Resampling.BICUBIC if resampling is None else resampling
        image = image.resize(out, filter, box=box, reducing_gap=3.0)
    return np.asarray(image)


def _open(data: bytes) -> PIL.Image:
    from PIL import Image

    # Pillow's own guard refuses from twice this number on; the limits below come first and say which file it is.
    Image.MAX_IMAGE_PIXELS = MAX_DECLARED_PIXELS
    if data[4:8] == b"ftyp" and b"avi" not in data[8:32]:
        _register_heic()
    try:
        formats = [name for name in FORMATS if name != "HEIF" or _heic_registered]
        image: PIL.Image = Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise BadImage(f"too large: {_reason(error)}") from None
    except Exception as error:
        deep = _deep_tiff(data)
        if deep is None:
            raise BadImage(f"not a readable image: {_what(data) or _reason(error)}") from None
        image = deep
    declared = image.width * image.height
    if declared == 0:
        raise BadImage("the image has no pixels")
    in_strips = image.format in ("JPEG", "MPO") and not image.info.get("progressive")
    limit = MAX_DECLARED_PIXELS if in_strips else MAX_PIXELS
    if declared > limit:
        raise BadImage(f"too large: {image.width} x {image.height} pixels, the limit is {limit:,}")
    return image


_heic_registered = False


def _register_heic() -> None:
    """Have Pillow read HEIC, with the plug-in of the extra ``formats``.

    Raises:
        BadImage: it is not installed.
    """
    global _heic_registered
    if _heic_registered:
        return
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        reason = 'needs pillow-heif: an HEIC image; python -m pip install "sota-bench[formats]"'
        raise BadImage(reason) from None
    register_heif_opener()
    _heic_registered = True


def _what(data: bytes) -> str:
    """What a file is that is no image, where its first bytes say so."""
    start = data[:64].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    return next((name for mark, name in _NOT_IMAGES.items() if start.startswith(mark)), "")


def _rgb(image: PIL.Image) -> PIL.Image:
    """An image of 8 bits in any mode as RGB."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (BACKGROUND,) * 3 + (255,)), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):  # its own text names a buffer by its address
        return "unknown image format"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
