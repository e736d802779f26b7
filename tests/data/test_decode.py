"""Decoding: every kind of file becomes upright RGB, scaled as the reference pipeline does it, or is refused by name."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sota_bench.data import decode
from sota_bench.data.decode import BadImage, decode_image, inspect_image


def picture(height=90, width=120, seed=0):
    """A smooth picture with some noise, uint8 [h, w, 3]."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)


def encode(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def blank_png(width, height):
    """A PNG that declares a size and holds hardly anything: a decompression bomb."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def declare_jpeg(data, width, height):
    """A JPEG whose frame header claims another size."""
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def test_small_images_keep_their_pixels():
    pixels = picture(20, 30)
    assert np.array_equal(decode_image(encode(Image.fromarray(pixels), "PNG"), 64), pixels)
    one = np.array([[[7, 8, 9]]], dtype=np.uint8)
    assert np.array_equal(decode_image(encode(Image.fromarray(one), "PNG"), 64), one)


def test_scaling_is_torchvisions_antialiased_resize():
    transforms = pytest.importorskip("torchvision.transforms.v2.functional")
    torch = pytest.importorskip("torch")
    pixels = picture(96, 128)
    ours = decode_image(encode(Image.fromarray(pixels), "PNG"), 48).astype(int)
    image, bicubic = torch.from_numpy(pixels).permute(2, 0, 1), transforms.InterpolationMode.BICUBIC
    reference = transforms.resize(image, [48, 64], bicubic, antialias=True)
    assert ours.shape == (48, 64, 3)
    assert np.abs(ours - reference.permute(1, 2, 0).numpy()).max() <= 1


@pytest.mark.parametrize("factor", [3, 6, 12, 20])
def test_scaled_jpeg_decoding_is_close_to_decoding_everything(factor):
    """Draft mode at 1/2 to 1/8 against full decoding and one antialiased resize: equal within JPEG's noise."""
    size = 40
    data = encode(Image.fromarray(picture(size * factor, size * factor)), "JPEG", quality=92)
    ours = decode_image(data, size).astype(int)
    whole = Image.open(io.BytesIO(data)).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    difference = np.abs(ours - np.asarray(whole).astype(int))
    assert difference.mean() < 1.5
    assert np.quantile(difference, 0.99) <= 6


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (60, 400, 30, (30, 60)),
        (400, 60, 30, (60, 30)),
        (60, 90, 30, (30, 45)),
        (20, 1000, 64, (20, 40)),
        (1, 9, 8, (1, 2)),
    ],
)
def test_long_images_are_cut_centrally(height, width, size, expected):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[height // 4 : -height // 4 or None, width // 2 - 1 : width // 2 + 1] = 255
    decoded = decode_image(encode(Image.fromarray(pixels), "PNG"), size)
    assert decoded.shape == (*expected, 3)
    columns = decoded.astype(float).sum((0, 2))
    if columns.sum() and expected[1] > 4:
        centre = (columns * np.arange(len(columns))).sum() / columns.sum()
        assert abs(centre - (len(columns) - 1) / 2) <= 1


def test_every_mode_becomes_rgb():
    pixels = picture(24, 24)
    image = Image.fromarray(pixels)
    grey = np.asarray(image.convert("L"))
    assert np.array_equal(decode_image(encode(image.convert("L"), "PNG"), 24), np.repeat(grey[..., None], 3, 2))
    palette = image.quantize(32)
    assert np.array_equal(decode_image(encode(palette, "PNG"), 24), np.asarray(palette.convert("RGB")))
    cmyk = decode_image(encode(image.convert("CMYK"), "JPEG", quality=98), 24).astype(int)
    assert np.abs(cmyk - pixels).mean() < 12
    black_and_white = image.convert("1")
    assert np.array_equal(decode_image(encode(black_and_white, "PNG"), 24), np.asarray(black_and_white.convert("RGB")))


@pytest.mark.parametrize("top", [65535, 200])
def test_16_bit_samples_are_scaled(top):
    samples = np.linspace(0, top, 24 * 24).reshape(24, 24).astype(np.uint16)
    decoded = decode_image(encode(Image.fromarray(samples), "PNG"), 24)
    assert np.abs(decoded[..., 0].astype(float) - samples / 257).max() <= 0.5


def test_transparency_lies_on_black():
    pixels = np.dstack([picture(8, 8), np.full((8, 8), 255, np.uint8)])
    pixels[:4, :, 3] = 0
    decoded = decode_image(encode(Image.fromarray(pixels), "PNG"), 8)
    assert not decoded[:4].any()
    assert np.array_equal(decoded[4:], pixels[4:, :, :3])


def test_exif_orientation_is_applied():
    pixels = picture(40, 60)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    data = encode(Image.fromarray(pixels), "JPEG", exif=exif, quality=97)
    decoded = decode_image(data, 40).astype(int)
    assert decoded.shape == (60, 40, 3)
    assert np.abs(decoded - np.rot90(pixels, -1).astype(int)).mean() < 6


def test_animations_give_their_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(data, 8)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_cut_off_files_are_found_by_the_scan_and_by_the_decoder(kind, share):
    data = encode(Image.fromarray(picture()), kind)
    cut = data[: int(len(data) * share)]
    with pytest.raises(BadImage):
        inspect_image(cut)
    with pytest.raises(BadImage):
        decode_image(cut, 32)


def test_a_jpeg_with_pixels_but_without_end_marker_is_kept():
    data = encode(Image.fromarray(picture()), "JPEG")
    assert inspect_image(data)[:2] == (90, 120)
    padded = data + b"\0" * 5000  # the end marker is out of the reach of the quick look
    assert inspect_image(padded)[:2] == (90, 120)


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"<svg onload='x'/>"])
def test_no_images_are_refused(data):
    for look in (inspect_image, lambda data: decode_image(data, 32)):
        with pytest.raises(BadImage) as caught:
            look(data)
        assert "\n" not in str(caught.value)


def test_bombs_are_refused_without_decoding():
    for data in (blank_png(20_000, 20_000), blank_png(60_000, 60_000)):
        with pytest.raises(BadImage, match="too large"):
            inspect_image(data)
        with pytest.raises(BadImage, match="too large"):
            decode_image(data, 32)
    claims = declare_jpeg(encode(Image.fromarray(picture()), "JPEG"), 60_000, 60_000)
    with pytest.raises(BadImage, match="too large"):
        inspect_image(claims)
    progressive = encode(Image.new("L", (11_000, 11_000)), "JPEG", progressive=True, quality=10)
    with pytest.raises(BadImage, match="too large"):
        inspect_image(progressive)


@pytest.mark.slow
def test_a_plain_jpeg_of_20000_pixels_a_side_is_decoded():
    image = Image.linear_gradient("L").resize((20_000, 20_000))
    data = encode(image, "JPEG", quality=50)
    assert inspect_image(data)[:2] == (20_000, 20_000)
    decoded = decode_image(data, 64)
    assert decoded.shape == (64, 64, 3)
    expected = np.asarray(Image.linear_gradient("L").resize((64, 64), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(decoded[..., 0].astype(int) - expected).max() <= 4


def test_pillows_own_guard_stays_on():
    inspect_image(encode(Image.fromarray(picture()), "PNG"))
    assert Image.MAX_IMAGE_PIXELS == decode.MAX_DECLARED_PIXELS
