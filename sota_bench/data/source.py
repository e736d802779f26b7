"""The interface of a source of images: what can list a data set and decode its images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from sota_bench.data.decode import BadImage
from sota_bench.data.manifest import Manifest

Scale = tuple[float, float] | None
"""The values that become black and white, of an image with more than 8 bits; None for any other."""

Progress = Callable[[int, int], None]
"""Called with (done, total) from time to time."""


class Source(ABC):
    """A data set that can be listed and decoded.

    An instance holds no open file: it may be pickled, sent to worker processes and used from several threads.

    Attributes:
        name: what the source is called in reports.
        control: whether the images are rendered by the project, to check the harness, and are no photographs.
    """

    name: str
    control: bool = False

    @property
    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """What ``specs.source_from_spec`` makes the same source from, as JSON values."""

    @abstractmethod
    def scan(self, progress: Progress | None = None) -> Manifest:
        """List the images with their splits, classes and content digests, and every file that cannot be used.

        Raises:
            UserError: the source cannot be read, or holds no usable data set.
        """

    @abstractmethod
    def decode(self, path: str, size: int, sha256: str = "", scale: Scale = None) -> np.ndarray:
        """Decode one image.

        Args:
            path: as in the manifest.
            size: the shorter side wanted, in pixels; never enlarged.
            sha256: of the content, as in the manifest; "" decodes whatever is there.
            scale: for more than 8 bits, the values that become black and white, as in the manifest.

        Returns:
            uint8 [h, w, 3]; the longer side is cut centrally at twice the shorter.

        Raises:
            BadImage: the file is missing, damaged or too large, or has other bytes than when it was listed.
        """

    def leave_out(self, left_out: Iterable[tuple[str, str]]) -> None:
        """Record that images, given as (path, reason), did not decode: the next scan names them and leaves them out,
        and lists those anew that have changed.

        Raises:
            BadImage: this source cannot record it.
            UserError: it cannot be kept.
        """
        for path, reason in left_out:
            raise BadImage(f"{path}: {reason}")
