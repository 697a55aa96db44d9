"""A catalog in the words of a plant, drawn: what is published there, and what is asked for.

The vocabulary is Zipf-Mandelbrot's (no word is in more than a fifth of the entries), as are names
of columns. Each query has words that one of the entries has, some unfinished, some mistyped, some
filtered.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

CLASSES = 500
UNITS = 60
TERMS = 500
SPOKEN = """
weld torque line station order plant batch sensor paint body shift quality defect supplier material
stock delivery route forecast invoice cost asset press robot cell cycle tool part serial vin engine
axle battery scrap rework audit operator team worker maintenance downtime alarm temperature
pressure vibration current speed energy water air gas Schweißnaht Drehmoment Anlage Auftrag
Fertigung Prüfung Lieferant Werkstoff Montage Lackierung
"""
ONSETS = "b br d f g k kr l m n p r s st t tr v z"
SYLLABLES = [onset + vowel for onset in ONSETS.split() for vowel in "aeiou"]


class Corpus:
    """Draws entries and queries of one vocabulary, the same for the same seed."""

    def __init__(self, seed: int, projects: int = 1000) -> None:
        self.projects = projects
        self.random = random.Random(0)
        self.words = [*SPOKEN.split(), *self._made_up(30_000)]
        self.weights = _zipf(len(self.words), 15)
        names = [f"{self.word()}_{self.word()}" for _ in range(5000)]
        self.columns = [*dict.fromkeys(names)]
        self.column_weights = _zipf(len(self.columns), 5)
        self.start = datetime(2024, 1, 1, tzinfo=UTC)
        self.random.seed(seed)

    def _made_up(self, number: int) -> list[str]:
        made: dict[str, None] = {}
        while len(made) < number:
            made["".join(self.random.choices(SYLLABLES, k=self.random.randint(2, 4)))] = None
        return [*made]

    def word(self) -> str:
        return self.draw(1)[0]

    def draw(self, number: int) -> list[str]:
        return self.random.choices(self.words, cum_weights=self.weights, k=number)

    def entries(self, number: int) -> Iterator[Any]:
        from atoll.mesh.discovery import Column, Entry

        choose = self.random
        for place in range(number):
            area = int(UNITS * choose.random())
            columns = choose.choices(
                self.columns, cum_weights=self.column_weights, k=choose.randint(5, 25)
            )
            unit_of_business = f"business unit {choose.randrange(30)}"
            frequency = choose.choice(("hourly", "daily", "weekly", "monthly"))
            forms = {"owner": (f"person {choose.randrange(2000)}",), "line": (self.word(),)}
            forms |= {"business_unit": (unit_of_business,), "refresh_frequency": (frequency,)}
            yield Entry(
                id=f"{choose.getrandbits(64):016x}-{place}",
                visibility=f"class-{int(CLASSES * choose.random() ** 1.5)}",
                name=self.name(),
                updated_at=self.start + timedelta(seconds=choose.randrange(60_000_000)),
                description=" ".join(self.draw(choose.randint(8, 25))),
                terms=self.terms(),
                forms=forms,
                columns=tuple(map(Column, columns)),
                project=f"project {int(self.projects * choose.random() ** 2)}",
                unit=("plant", f"area {area // 10}", f"unit {area}"),
                classification=choose.choice(("public", "internal", "confidential")),
                basis=choose.choice(("source-based", "consumer-based")),
                has_pii=choose.random() < 0.2,
                business_unit=unit_of_business,
                refresh_frequency=frequency,
                asset_type=choose.choice(("table", "view", "file set", "vector collection")),
                quality_score=choose.choice((None, choose.random())),
                payload=choose.randbytes(100),
            )

    def terms(self) -> tuple[str, ...]:
        """Two on average, up to eight."""
        number = self.random.choices(range(9), (20, 25, 20, 15, 10, 5, 3, 1, 1))[0]
        return tuple({f"term {int(TERMS * self.random.random() ** 2)}" for _ in range(number)})

    def name(self) -> str:
        words = self.draw(self.random.randint(2, 4))
        style = self.random.randrange(3)
        if style == 0:
            return " ".join(words)
        if style == 1:
            return "".join(word.capitalize() for word in words) + str(self.random.randint(1, 99))
        return "_".join(words) + f"_{self.random.randint(2015, 2026)}"

    def queries(self, entries: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """Ask for each entry once, as somebody would who half remembers it."""
        for entry in entries:
            filters: dict[str, frozenset[str]] = {}
            if self.random.random() < 0.3:
                filters["classification"] = frozenset({entry.classification})
            if self.random.random() < 0.15:
                filters["unit"] = frozenset({entry.unit[1]})
            sorts = ("relevance", "name", "updated", "quality")
            yield {
                "text": " ".join(map(self._typed, self._words_of(entry))),
                "filters": filters,
                "sort": self.random.choices(sorts, (85, 5, 5, 5))[0],
            }

    def _words_of(self, entry: Any) -> list[str]:
        """Choose words of one entry: of its name, a column, its description."""
        from atoll.mesh.discovery.words import readings

        column = self.random.choice(entry.columns).name
        described = self.random.sample(entry.description.split(), 2)
        known = dict.fromkeys((*readings(entry.name)[0], *column.split("_"), *described))
        number = self.random.choice((0, 1, 1, 1, 1, 2, 2, 2, 2, 3))
        return self.random.sample([*known], number)

    def _typed(self, word: str) -> str:
        luck = self.random.random()
        if luck < 0.25:
            return word[: max(3, len(word) - 2)]
        if luck < 0.35 and len(word) > 4:
            return word[:2] + word[3] + word[2] + word[4:]
        return word


def _zipf(number: int, shift: int) -> list[float]:
    return [*itertools.accumulate(1 / (rank + shift) ** 1.05 for rank in range(1, number + 1))]
