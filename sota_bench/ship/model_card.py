"""The model card, ``README.md`` of a bundle: what was measured, on which images, and what it does not say.

Its front matter and sections follow Mitchell et al. 2019, Model Cards for Model Reporting
(https://arxiv.org/abs/1810.03993), and the fields that model hubs read."""

from __future__ import annotations

from collections.abc import Iterator

from sota_bench.data.packed import QUALITY
from sota_bench.grid.fields import recipe_fields
from sota_bench.grid.template import toml_value
from sota_bench.ship.bundle import Bundle
from sota_bench.ship.facts import TrialFacts
from sota_bench.units import counted, duration_text

SHOWN_CLASSES = 20


def model_card(facts: TrialFacts, bundle: Bundle) -> str:
    """The card as Markdown."""
    return "\n".join(_lines(facts, bundle)).rstrip() + "\n"


def _lines(facts: TrialFacts, bundle: Bundle) -> Iterator[str]:
    images = bundle.preprocessing
    backbone = facts.recipe["backbone"]
    yield from ("---", f"license: {facts.licence or 'other'}")
    if not facts.licence:
        yield "license_name: not-chosen"
    yield from ("library_name: timm", "pipeline_tag: image-classification", "tags: [image-classification, timm]")
    yield from ("---", "")
    yield from (f"# {backbone}, trained by sota_bench on {facts.data.get('source', 'images')}", "")
    yield (
        f"Trial {facts.trial} of the grid `{facts.grid}`: {facts.params / 1e6:.2f} million parameters, "
        f"{facts.flops / 1e9:.3f} GFLOPs for one image of {images.size} x {images.size} pixels, "
        f"{counted(len(bundle.classes), 'class', 'classes')}."
    )
    yield from ("", "## Use", "", "```python", "import timm", "")
    yield 'model = timm.create_model("local-dir:PATH/TO/THIS/FOLDER", pretrained=True).eval()'
    yield "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))"
    yield from ("```", "", "or `python -m sota_bench predict PATH/TO/THIS/FOLDER photo.jpg`.", "")
    as_jpeg = f" and stored as a JPEG of quality {QUALITY}" if images.encoded else ""
    yield (
        f"`config.json` holds the input statistics: mean {_numbers(images.mean)} and deviation "
        f"{_numbers(images.std)} in grey levels of 0 to 255. `predict` repeats the pixels of the evaluation: a file is "
        f"scaled down to {images.stored_size} px on the shorter side with a bicubic filter{as_jpeg}, then its central "
        f"{100 * images.crop:g}% is resized to {images.size} px with a bilinear one, both antialiased."
    )
    yield ""
    yield (
        "timm's transform resizes once, from the file itself, with the bilinear filter, so its pixels differ slightly: "
        "on photographs of Imagenette a few images in a hundred got another class, and the accuracy was the same "
        "within 0.5 percentage points. Unlike `predict`, it does not turn photographs by their EXIF orientation."
    )
    yield from ("", "## Measured", "", "| | |", "| --- | --- |")
    scores = facts.scores
    yield f"| accuracy on the select split, this trial | {scores.accuracy:.2f}% of {counted(scores.images, 'image')} |"
    yield f"| the same, mean of its cell over {counted(facts.seeds, 'seed')} | {facts.mean_accuracy:.2f}% |"
    yield f"| negative log-likelihood, expected calibration error | {scores.nll:.3f} nats, {scores.ece:.3f} |"
    unmeasured = "not measured; `python -m sota_bench confirm` measures it"
    tested = unmeasured if facts.test_accuracy is None else f"{facts.test_accuracy:.2f}%"
    yield f"| accuracy on the test split, mean of its cell over new seeds | {tested} |"
    confirmed = facts.confirmed or unmeasured
    yield f"| gain over the baseline on the test split, new seeds | {confirmed} |"
    yield f"| one iteration (training and evaluation) | {duration_text(60 * facts.minutes)} |"
    yield from ("", "The verdicts of its grid:", "")
    yield from (f"- {sentence}" for sentence in facts.verdicts)
    yield from ("", "## Trained with", "", "Every other field has its default; `recipe.toml` names all of them.", "")
    yield from ("| recipe field | value |", "| --- | --- |")
    defaults = {field.name: field.default for field in recipe_fields(facts.files)}
    for name, value in facts.recipe.items():
        if value != defaults[name] or name in facts.levels:
            yield f"| `{name}` | `{toml_value(value)}` |"
    yield from ("", f"Seed {facts.seed}. {', '.join(f'{name} {text}' for name, text in facts.versions.items())}.")
    yield f"Digest of the evaluation images: {facts.data_digest[:16]}; of all images: {facts.manifest_digest[:16]}."
    if facts.code_commit:
        yield f"Code: commit {facts.code_commit}."
    yield from ("", "`recipe.toml` trains it again.", "", "## Limits", "")
    yield "- The select split chose this trial among the cells of its grid, so its accuracy there is optimistic."
    yield f"- It knows {counted(len(bundle.classes), 'class', 'classes')} and answers with one of them for any image: "
    shown_classes = ", ".join(bundle.classes[:SHOWN_CLASSES])
    yield f"  {shown_classes}{', ...' if len(bundle.classes) > SHOWN_CLASSES else ''}."
    if not facts.licence:
        yield "- No licence has been chosen; `export --license` writes the one that the owner of the weights chooses."
    if facts.pretrained:
        yield f"- It started from {facts.pretrained}, whose training images may include some of its evaluation images."
    if facts.data.get("source") == "known-effects":
        yield "- It was trained on images that were rendered to check the tool, so it is of no use for photographs."


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
