"""What the name of a column says: its words, joined again and looked up in the vocabulary."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from atoll.mesh.pii import vocabulary
from atoll.mesh.pii.model import Kind

# Of longer names, the rest is not looked at.
MAX_CHARS = 200
MAX_WORDS = 24
_RUN_WORDS = 5
# Of several words: v_in is no VIN.
_RUN_CHARS = 5
# An ending of a word written without separators, such as kundentelefonnummer, must be as long.
_ENDING_CHARS = 8
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-z])(?=[0-9])")
_SEPARATORS = re.compile(r"[^a-z0-9]+")

STRONG, LIKELY, MAYBE, WEAK = 0.9, 0.75, 0.6, 0.4
# Kinds that a thing can have as well: then the name says little.
_OF_THINGS = frozenset(
    {
        Kind.EMAIL,
        Kind.PHONE,
        Kind.POSTAL_ADDRESS,
        Kind.BIRTH_DATE,
        Kind.NATIONAL_ID,
        Kind.IP_ADDRESS,
        Kind.MAC_ADDRESS,
        Kind.PERSON_NAME,
        Kind.LOCATION,
    }
)
# Of these a number of another table is none.
_KEYED = frozenset(
    {Kind.PHONE, Kind.POSTAL_ADDRESS, Kind.PAYMENT_CARD, Kind.BANK_ACCOUNT, Kind.LOCATION}
)
_PARTICLES = frozenset(vocabulary.PARTICLES.split())
_PERSONS = frozenset(vocabulary.PERSONS.split())
_THINGS = frozenset(vocabulary.THINGS.split())
_ALONE = frozenset(vocabulary.ALONE.split())
_CUES = frozenset(vocabulary.CUES.split())
_KEYS = frozenset(vocabulary.KEYS.split())
_ABOUT = frozenset(vocabulary.ABOUT.split())
_NEUTRAL = frozenset(vocabulary.NEUTRAL.split())


@dataclass(frozen=True)
class Hints:
    """What a name says.

    Attributes:
        strengths: how strongly of each kind it speaks of, 0 to 1: at least `LIKELY` is a reason by
            itself, `WEAK` needs another.
        is_of_thing: it names a thing and no person.
        is_cue: who has such a column in a table, that table is about.
    """

    strengths: Mapping[Kind, float]
    is_of_thing: bool
    is_cue: bool


def hints(name: str) -> Hints:
    """Tell which personal data a column of this name may hold.

    >>> hints("kundenTelefonNr").strengths
    {<Kind.PHONE: 'phone'>: 0.9}
    >>> hints("machine_email_sent_count").strengths
    {}
    """
    words = words_of(name)
    found: dict[Kind, float] = {}
    without = [word for word in words if word not in _PARTICLES]
    for variant in [words] if without == words else [words, without]:
        for kind, strength in _hints_of(variant):
            found[kind] = max(strength, found.get(kind, 0.0))
    known = set(words)
    is_of_thing = not known.isdisjoint(_THINGS) and known.isdisjoint(_PERSONS)
    strengths = {kind: strength for kind, strength in found.items() if strength}
    return Hints(strengths, is_of_thing, "".join(words) in _CUES)


def words_of(name: str) -> list[str]:
    """Split a name into lower-case words without accents.

    >>> words_of("VehicleID_LetzteÄnderung2"), words_of("STCD1")
    (['vehicle', 'id', 'letzte', 'anderung', '2'], ['stcd1'])
    """
    plain = unicodedata.normalize("NFKD", name[:MAX_CHARS])
    text = "".join(char for char in plain if not unicodedata.combining(char))
    text = _CAMEL.sub(" ", text).replace("ß", "ss").lower()
    return [word for word in _SEPARATORS.split(text) if word][:MAX_WORDS]


def folded(text: str) -> str:
    """Write a text in lower case without accents."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(char for char in plain if not unicodedata.combining(char)).casefold()


@dataclass(frozen=True)
class _Run:
    """Words `start` to `stop` of a name, of which `rest` is not part of the phrase."""

    start: int
    stop: int
    phrase: str
    rest: str = ""


def _hints_of(words: Sequence[str]) -> Iterator[tuple[Kind, float]]:
    runs = list(_runs(words))
    neutral = [run for run in runs if run.phrase in _NEUTRAL]
    for run in runs:
        if any(one.start <= run.start and run.stop <= one.stop for one in neutral):
            continue
        beside = {*words[: run.start], *words[run.stop :], run.rest}
        phrase = _known(run.phrase)
        if phrase in _ALONE and any(one.isalpha() and one not in _PERSONS for one in beside):
            continue
        for kind, strength in _PHRASES.get(phrase, ()):
            yield kind, _adjusted(kind, strength, beside)


def _known(phrase: str) -> str:
    """Return the phrase, or its singular where only that is known."""
    singular = (phrase.removesuffix(ending) for ending in ("s", "es"))
    return next((one for one in (phrase, *singular) if one in _PHRASES), phrase)


def _runs(words: Sequence[str]) -> Iterator[_Run]:
    """Join neighbouring words, and cut endings off those written without separators."""
    for start in range(len(words)):
        for stop in range(start + 1, min(start + _RUN_WORDS, len(words)) + 1):
            phrase = "".join(words[start:stop])
            if stop == start + 1 or len(phrase) >= _RUN_CHARS:
                yield _Run(start, stop, phrase)
        word = words[start]
        for cut in range(1, len(word) - _ENDING_CHARS + 1):
            if _is_strong(word[cut:]):
                yield _Run(start, start + 1, word[cut:], word[:cut])
                break


def _is_strong(phrase: str) -> bool:
    return any(strength > WEAK for _, strength in _PHRASES.get(phrase, ()))


def _adjusted(kind: Kind, strength: float, beside: set[str]) -> float:
    """Weigh a phrase by the words beside it."""
    if not beside.isdisjoint(_ABOUT) or (kind in _KEYED and not beside.isdisjoint(_KEYS)):
        return 0.0
    if not beside.isdisjoint(_PERSONS):
        return LIKELY if strength == WEAK else strength
    # "machine operator name" is a person's all the same: the phrase itself names one.
    is_things = kind in _OF_THINGS and strength != LIKELY and not beside.isdisjoint(_THINGS)
    return strength if not is_things else WEAK if strength > WEAK else 0.0


def _phrases() -> dict[str, list[tuple[Kind, float]]]:
    found: dict[str, list[tuple[Kind, float]]] = {}

    def add(kind: Kind, strength: float, phrase: str) -> None:
        found.setdefault(phrase, []).append((kind, strength))

    for kind, phrases in vocabulary.STRONG.items():
        for phrase in phrases.split():
            # However plain the name, a comment may hold nothing of anybody.
            add(kind, MAYBE if kind is Kind.FREE_TEXT else STRONG, phrase)
    for kind, phrases in vocabulary.WEAK.items():
        for phrase in phrases.split():
            add(kind, WEAK, phrase)
    for worker in vocabulary.WORKERS.split():
        add(Kind.PERSON_NAME, MAYBE, worker)
        add(Kind.EMPLOYEE_NUMBER, MAYBE, worker)
    for kind, whose, what in (
        (Kind.PERSON_NAME, _PERSONS, vocabulary.NAMES),
        (Kind.EMPLOYEE_NUMBER, vocabulary.WORKERS.split(), vocabulary.NUMBERS),
    ):
        for one in whose:
            for word in what.split():
                add(kind, LIKELY, one + word)
                add(kind, LIKELY, word + one)
    return found


_PHRASES = _phrases()
