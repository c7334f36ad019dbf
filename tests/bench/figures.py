"""Figures: collected, compared with a budget and a floor or peer of the same run, printed as one table."""

import resource
import statistics
from collections.abc import Sequence


class Figures:
    """The lines of one run; `worst` tells whether a budget was missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def heading(self, text: str) -> None:
        """Begin a section."""
        print(f"\n{text}")

    def line(
        self, what: str, value: float, unit: str, budget: float | None = None, beside: str = "", more: bool = False
    ) -> None:
        """Print one figure; `more` says that more is better. A missed budget is said and remembered."""
        verdict = ""
        if budget is not None:
            held = value >= budget if more else value <= budget
            verdict = f"budget {'>=' if more else '<='} {budget:g} {unit}: {'held' if held else 'MISSED'}"
            if not held:
                self.missed.append(f"{what}: {value:.3g} {unit}, budget {budget:g}")
        print(f"  {what:<46} {value:>10.4g} {unit:<10} {verdict:<38} {beside}", flush=True)


def at(values: Sequence[float], share: float) -> float:
    """Return a quantile, 0.5 for the median."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def three(values: Sequence[float]) -> tuple[float, float, float]:
    """Return median, 95th and 99th percentile."""
    return statistics.median(values), at(values, 0.95), at(values, 0.99)


def children() -> float:
    """Return the CPU seconds of all ended children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
