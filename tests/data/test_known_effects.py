"""The rendered data set: deterministic, balanced, and blind or not blind at each size as its construction says."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from ablations.tta import ZOOMS
from sota_bench.data import known_effects as known
from sota_bench.data.files import FolderSource
from sota_bench.data.find import open_source

# Change these only together with known_effects.CONSTRUCTION: they hold on every platform.
GOLDEN = {
    0: "62c47f7ad562cc0b",
    1999: "e12dd7649ffb0395",
    3999: "537b1d7d15fe7e1b",
}


@pytest.mark.parametrize("index", GOLDEN)
def test_pixels_are_the_same_everywhere(index):
    pixels = known.render(index)
    assert pixels.shape == (128, 128, 3)
    assert pixels.dtype == np.uint8
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == GOLDEN[index]


def test_splits_and_classes_are_balanced():
    count = sum(known.COUNTS.values())
    pairs = Counter((known.split_of(index), known.true_class(index)) for index in range(count))
    assert {split: {pairs[split, c] for c in range(10)} for split in known.COUNTS} == {
        "train": {200}, "select": {100}, "test": {100},
    }  # fmt: skip
    with pytest.raises(IndexError):
        known.split_of(count)
    with pytest.raises(IndexError):
        known.render(-1)


def test_wrong_labels_are_a_known_share_of_train_alone():
    count = sum(known.COUNTS.values())
    wrong = np.array([known.given_class(i) != known.true_class(i) for i in range(count)])
    share, expected = wrong[:2000].mean(), known.WRONG_LABELS_PERCENT / 100
    assert abs(share - expected) < 3 * np.sqrt(expected * (1 - expected) / 2000)
    assert not wrong[2000:].any()


def oriented_energy(pixels):
    """Log power along each axis of the brightness, per frequency: rows minus columns."""
    bright = pixels.astype(np.float64).mean(2)
    bright -= bright.mean()
    side = len(bright)
    power = np.abs(np.fft.fft2(bright * np.hanning(side)[:, None] * np.hanning(side))) ** 2
    rows, columns = power[: side // 2 + 1, :2].sum(1), power[:2, : side // 2 + 1].sum(0)
    return (np.log(rows + 1) - np.log(columns + 1))[3:]


def orientation_accuracy(images, rows, size, zoom=1.0):
    """Accuracy in percent of a spectral detector that is fitted to half of the images and judged on the rest.

    ``zoom`` is the share of the side that the central view keeps.
    """
    margin = 128 * (1 - zoom) / 2
    box = (margin, margin, 128 - margin, 128 - margin)
    shown = [
        np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box)) for image in images
    ]
    features = np.stack([oriented_energy(pixels) for pixels in shown])
    half = len(rows) // 2
    fit, is_rows = features[:half], rows[:half]
    means = np.stack([fit[~is_rows].mean(0), fit[is_rows].mean(0)])
    weights = (means[1] - means[0]) / (fit.var(0) + 0.1)
    return 100 * np.mean((features[half:] @ weights > means.mean(0) @ weights) == rows[half:])


@pytest.fixture(scope="module")
def textures():
    """Whether the band is fine -> (images, whether the grating is in rows)."""
    found = {}
    for fine in (False, True):
        chosen = [i for i in range(2000, 4000) if (known.true_class(i) // 2 in known.FINE_SHAPES) == fine][:240]
        images = [known.render(index) for index in chosen]
        found[fine] = images, np.array([known.TEXTURES[known.true_class(i) % 2] == "rows" for i in chosen])
    return found


@pytest.mark.parametrize(
    ("fine", "size", "visible"),
    [
        (False, 128, True),
        (False, 64, True),
        (False, 32, False),
        (True, 128, True),
        (True, 64, False),
        (True, 32, False),
    ],
)
def test_gratings_are_visible_only_above_their_resolution(textures, fine, size, visible):
    images, rows = textures[fine]
    accuracy = orientation_accuracy(images, rows, size)
    # 120 judged images: chance is 50 with a standard deviation of 4.6.
    assert accuracy > 95 if visible else abs(accuracy - 50) < 15


def test_zoomed_views_show_gratings_that_the_plain_view_hides(textures):
    """The smallest view of ``tta = "multi-scale"``, at 64 px."""
    images, rows = textures[True]
    assert orientation_accuracy(images, rows, 64, zoom=min(ZOOMS)) > 95


def test_shapes_are_visible_at_32_pixels(textures):
    """The centroid of each shape's mean hue tells the shapes apart, whatever the grating."""
    images = [
        np.asarray(Image.fromarray(known.render(i)).resize((32, 32), Image.Resampling.BILINEAR))
        for i in range(2000, 2300)
    ]
    shapes = np.array([known.true_class(i) // 2 for i in range(2000, 2300)])
    features = []
    for pixels in images:
        colour = pixels.astype(np.float64)
        colour -= colour.mean(2, keepdims=True)
        strength = np.linalg.norm(colour - np.median(colour.reshape(-1, 3), axis=0), axis=2)
        strong = strength >= np.quantile(strength, 0.9)
        mean = colour[strong].mean(0) - np.median(colour.reshape(-1, 3), axis=0)
        features.append(mean / np.linalg.norm(mean))
    features = np.array(features)
    centres = np.stack([features[:150][shapes[:150] == shape].mean(0) for shape in range(5)])
    assert np.mean((features[150:] @ centres.T).argmax(1) == shapes[150:]) > 0.75


def test_classes_of_a_shape_differ_in_orientation_alone():
    """The same draws with the other texture: the mirror of the grating, and the same object, colours and noise."""
    base = known.render(2000).astype(int)
    turned = pytest.MonkeyPatch()
    with turned.context() as patch:
        patch.setattr(known, "TEXTURES", ("rows", "columns"))
        other = known.render(2000).astype(int)
    small = [
        np.asarray(Image.fromarray(x.astype(np.uint8)).resize((32, 32), Image.Resampling.BILINEAR), int)
        for x in (base, other)
    ]
    assert np.abs(base - other).max() > 10
    assert np.abs(small[0] - small[1]).max() <= 1  # rounding to whole grey levels


def test_brightness_and_contrast_vary_without_clipping():
    images = np.stack([known.render(index) for index in range(150)]).astype(np.float64)
    means, deviations = images.mean((1, 2, 3)), images.std((1, 2, 3))
    assert images.min() >= 0
    assert ((images == 0) | (images == 255)).mean() < 1e-3
    assert means.mean() > 120, "bright on average, so that raw pixels are far from zero mean"
    assert means.std() > 20
    assert np.quantile(deviations, 0.95) > 2.5 * np.quantile(deviations, 0.05)


@pytest.mark.parametrize("shape", known.SHAPES)
def test_shapes_are_their_own_mirror_image(shape):
    across = np.arange(128) - 60
    down = (np.arange(128) - 60)[:, None]
    assert np.array_equal(known._mask(shape, across, down, 40), known._mask(shape, -across, down, 40))


def test_scales_span_a_factor_of_two():
    assert known._RADII[-1] == 2 * known._RADII[0]


def test_written_folder_is_the_same_data(tmp_path, monkeypatch):
    monkeypatch.setattr(known, "COUNTS", {"train": 40, "select": 20, "test": 20})
    known.write_folder(tmp_path)
    source, rendered = FolderSource("copy", tmp_path), open_source("known-effects")
    copy, original = source.scan(), rendered.scan()
    assert copy.sizes() == original.sizes() == {"train": 40, "select": 20, "test": 20}
    by_name = {
        path.rsplit("/", 1)[1]: row for path, row in zip(copy.items["path"], copy.items.itertuples(), strict=True)
    }
    for row in original.items.itertuples():
        twin = by_name[row.path.rsplit("/", 1)[1]]
        assert (twin.split, twin.label) == (row.split, row.label)
        # Below their own size files are scaled as photographs are, and what is rendered keeps its triangle filter.
        assert np.array_equal(source.decode(twin.path, known.SIDE), rendered.decode(row.path, known.SIDE))


def test_fingerprint_follows_pixels_and_labels(monkeypatch):
    before = known.fingerprint()
    assert before == known.fingerprint()
    monkeypatch.setattr(known, "WRONG_LABELS_PERCENT", 14)
    labels = known.fingerprint()
    monkeypatch.undo()
    monkeypatch.setattr(known, "_AMPLITUDES", {False: 56, True: 45})
    assert len({before, labels, known.fingerprint()}) == 3
