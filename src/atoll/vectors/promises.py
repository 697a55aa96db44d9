"""A calibration as searches use it: what was chosen once by it is not chosen anew."""

from __future__ import annotations

from atoll.vectors.calibration import choose
from atoll.vectors.drift import Advice, advise
from atoll.vectors.model import Calibration, CalibrationPoint, Manifest


class Promises:
    """Chooses settings by a calibration, and remembers: choosing takes longer than a search."""

    def __init__(self, calibration: Calibration) -> None:
        """Choose nothing yet."""
        self.calibration = calibration
        self._chosen: dict[tuple[int, float], CalibrationPoint] = {}
        self._advice: tuple[Manifest, Advice] | None = None

    def choose(self, k: int, recall: float) -> CalibrationPoint:
        """Choose the cheapest setting that holds a recall; see `calibration.choose`."""
        if (k, recall) not in self._chosen:
            self._chosen[k, recall] = choose(self.calibration, k, recall)
        return self._chosen[k, recall]

    def advice(self, manifest: Manifest) -> Advice:
        """Tell whether the calibration still speaks for a version; see `drift.advise`."""
        if self._advice is None or self._advice[0] is not manifest:
            names = [bucket.name for bucket in manifest.buckets]
            self._advice = manifest, advise(self.calibration, manifest.rows, names)
        return self._advice[1]
