"""What a page is made of: sections, and in them prose, figures, tables, pictures, cards and code."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = 800


@dataclass(frozen=True)
class Cell:
    """One table cell.

    Attributes:
        text: what is shown.
        order: what it is sorted by; None or NaN: its text.
        tone: ``good``, ``bad`` ... or "".
    """

    text: str
    order: float | None = None
    tone: str = ""

    @property
    def sort_value(self) -> float | None:
        """What it is sorted by, where that is a number."""
        return self.order if self.order is not None and math.isfinite(self.order) else None


@dataclass(frozen=True)
class Table:
    """A table with one header row; the first column heads its rows.

    Attributes:
        caption: what one row is.
        columns: the header texts; a name that ends in ``#`` marks a column of numbers (the mark is not shown).
        rows: cells, or plain text where text is all there is to say.
        interactive: whether the page's script may sort and filter it.
        folded: the words of the fold that hides it at first, or "" to show it at once.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    interactive: bool = False
    folded: str = ""
    kind: ClassVar[str] = "table"

    @property
    def heads(self) -> list[tuple[str, bool]]:
        """Each header as (text, is a number)."""
        return [(name.removesuffix("#"), name.endswith("#")) for name in self.columns]

    @property
    def cells(self) -> list[list[Cell]]:
        """The rows with every entry as a ``Cell``."""
        return [[entry if isinstance(entry, Cell) else Cell(entry) for entry in row] for row in self.rows]


@dataclass(frozen=True)
class Chart:
    """A figure, the sentence that it shows, and its data.

    Attributes:
        key: unique on the page; prefixes every id inside the figure.
        title: what is drawn.
        finding: one sentence: what it shows here, with numbers; it describes the figure to a screen reader.
        draw: makes the matplotlib figure for a width in CSS pixels.
        table: the numbers behind the figure.
        note: how to read it.
        width: drawn width in CSS pixels.
        narrow: whether a second drawing for narrow screens is made.
    """

    key: str
    title: str
    finding: str
    draw: Callable[[int], Figure]
    table: Table | None
    note: str = ""
    width: int = WIDE
    narrow: bool = True
    kind: ClassVar[str] = "chart"


@dataclass(frozen=True)
class Prose:
    """Paragraphs; ``tone`` is ``""``, ``note`` or ``warning``."""

    paragraphs: Sequence[str]
    tone: str = ""
    kind: ClassVar[str] = "prose"


@dataclass(frozen=True)
class Listing:
    """A list of short sentences under a small heading; those after the first ``shown`` are folded away."""

    title: str
    items: Sequence[str]
    tone: str = ""
    shown: int = 3
    kind: ClassVar[str] = "listing"


@dataclass(frozen=True)
class Facts:
    """Pairs of a term and its value, as a grid of figures (``large``) or a plain definition list."""

    pairs: Sequence[tuple[str, str, str]]
    large: bool = False
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class VerdictLine:
    """One verdict.

    Attributes:
        tone: how it is coloured: ``good``, ``bad``, ``flat``, ``unknown`` or ``none``.
        mark: a sign that stands for it, so that colour is not alone.
        comparison: what is compared: ``mixup 0.2 vs 0.0``.
        head: the verdict in a few words: ``Helps``.
        details: what follows it in the sentence.
        size: the estimate for the eye: ``+4.0 pp``.
        below: more sentences that belong to it, such as the effects at single levels of another factor.
    """

    tone: str
    mark: str
    comparison: str
    head: str
    details: str
    size: str
    below: Sequence[str] = ()


@dataclass(frozen=True)
class Verdicts:
    """Verdicts of a run; ``title`` says on which response, where there are several."""

    rows: Sequence[VerdictLine]
    title: str = ""
    kind: ClassVar[str] = "verdicts"


@dataclass(frozen=True)
class Picture:
    """One sample picture: heading, caption, the image as a data address, its text alternative and its targets."""

    title: str
    caption: str
    address: str
    alternative: str
    targets: Sequence[str] = ()


@dataclass(frozen=True)
class Pictures:
    """Pictures that belong beside each other."""

    pictures: Sequence[Picture]
    kind: ClassVar[str] = "pictures"


@dataclass(frozen=True)
class Fold:
    """A closed block that opens on demand: a card (pairs), a text (prose) or code."""

    title: str
    pairs: Sequence[tuple[str, str]] = ()
    code: str = ""
    kind: ClassVar[str] = "fold"


@dataclass(frozen=True)
class Links:
    """Files that lie beside the page: (address, what it holds)."""

    files: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "links"


Block = Table | Chart | Prose | Listing | Facts | Verdicts | Pictures | Fold | Links


@dataclass(frozen=True)
class Section:
    """One question and its answer: ``lead`` is the answer in a sentence or two."""

    key: str
    title: str
    lead: str
    blocks: Sequence[Block] = field(default_factory=tuple)


@dataclass(frozen=True)
class Head:
    """The top of a page.

    Attributes:
        over: which command made it.
        title: of the page.
        facts: the line under the title.
        question: what the run is to answer, in the user's words.
        remarks: paragraphs that the user wrote for the report.
        notes: sentences that must be read before anything else.
    """

    over: str
    title: str
    facts: Sequence[str]
    question: str = ""
    remarks: Sequence[str] = ()
    notes: Sequence[str] = ()
