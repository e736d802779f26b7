"""(9) What the network saw: a batch per level, mixed images with their targets, sizes side by side."""

from __future__ import annotations

import base64

from sota_bench.report.parts import Picture, Pictures, Section
from sota_bench.report.tables import Sample
from sota_bench.report.text import number
from sota_bench.report.view import View
from sota_bench.stats.wording import level_name


def section(view: View) -> Section | None:
    """None where no pictures were kept."""
    groups: dict[str, list[Picture]] = {}
    for sample in view.tables.samples:
        groups.setdefault(sample.group, []).append(_picture(sample))
    if not groups:
        return None
    return Section(
        "seen",
        "What the network saw",
        "Images as the first layer received them, so that a wrong setting can be seen.",
        [Pictures(pictures) for pictures in groups.values()],
    )


def _picture(sample: Sample) -> Picture:
    address = f"data:image/png;base64,{base64.b64encode(sample.png).decode('ascii')}"
    title = f"{sample.group} {level_name(sample.level)}"
    targets = [
        " + ".join(
            f"{number(share, 2)} {name}"
            for name, share in sorted(target.items(), key=lambda kv: (-kv[1], kv[0]))
            if round(share, 2) > 0
        )
        for target in sample.targets
    ]
    return Picture(title, sample.caption, address, f"Sample images, {title}: {sample.caption}", targets)
