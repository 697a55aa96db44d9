"""Text into the words that the index holds and a search asks for.

Both sides go through `readings`, so what folds alike is found alike: accents and case do not
count, an umlaut may be written with an e, and names of code fall into their parts.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache

from atoll.core.errors import InvalidInput

# Longer ones are cut, on both sides.
MAX_WORD_CHARS = 64
MAX_WORDS = 16
# Names of columns and values of forms come again and again.
_REMEMBERED_CHARS = 60

# Latin, Greek, Cyrillic, Armenian: the scripts in which case can part words.
_UPPER = "".join(chr(code) for code in range(0x590) if chr(code).isupper())
_LOWER = rf"[^\W\d_{_UPPER}]"
_PART = re.compile(rf"\d+|[{_UPPER}]+(?=[{_UPPER}]{_LOWER})|[{_UPPER}]?{_LOWER}+|[{_UPPER}]+")
_ACRONYM = re.compile(rf"[{_UPPER}]{{2,}}(?={_LOWER})")
_UMLAUT = re.compile(r"[äöüÄÖÜ]")
_GERMAN = {"ä": "ae", "ö": "oe", "ü": "ue"}
# Letters that Unicode does not take apart into a letter and an accent.
_LETTERS = {"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D"}
_PAIRS = {"þ": "th", "Þ": "Th", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe"}
_ITEM = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')

# One way to write something, as words in their order.
Reading = tuple[str, ...]


def readings(text: str) -> tuple[Reading, ...]:
    """Read text in each way that it may be asked for.

    Returns:
        The words without accents; if they differ, the words with German umlauts written out;
        acronyms whose last letter the words after them took, if there are any.

    >>> readings("weldTorque_2024"), readings("Naht für Übung")[1], readings("OEEtrend")
    ((('weld', 'torque', '2024'),), ('naht', 'fuer', 'uebung'), (('oe', 'etrend'), ('oee',)))
    """
    return _read_again(text) if len(text) <= _REMEMBERED_CHARS else _read(text)


@lru_cache(maxsize=20_000)
def _read_again(text: str) -> tuple[Reading, ...]:
    return _read(text)


def _read(text: str) -> tuple[Reading, ...]:
    spelled = spellings(text)
    found = [_parts(each) for each in spelled]
    found.append(tuple(_word(acronym) for acronym in _ACRONYM.findall(spelled[-1])))
    return tuple(reading for reading in dict.fromkeys(found) if reading)


def spellings(text: str) -> tuple[str, ...]:
    """Fold accents: to nothing, and if there are umlauts, to an e in a second spelling."""
    if text.isascii():
        return (text,)
    text = unicodedata.normalize("NFKC", text)
    plain = _without_accents(text)
    if not _UMLAUT.search(text):
        return (plain,)
    return plain, _without_accents(_UMLAUT.sub(_written_out, text))


def _written_out(umlaut: re.Match[str]) -> str:
    """Write ae, Ae or AE, so that the case of what follows parts no word."""
    letter = umlaut[0]
    german = _GERMAN[letter.lower()]
    if letter.islower():
        return german
    is_followed_by_lower = umlaut.string[umlaut.end() : umlaut.end() + 1].islower()
    return german.capitalize() if is_followed_by_lower else german.upper()


def _without_accents(text: str) -> str:
    return unicodedata.normalize("NFKD", text).translate(_dropped())


@cache
def _dropped() -> dict[int, str | None]:
    """Table for `str.translate`: no accents, nothing invisible (joiners, marks of direction)."""
    # All of them lie in the first two planes, and among the tags.
    codes = (*range(0x20000), *range(0xE0000, 0xE0200))
    invisible = (code for code in codes if _is_dropped(chr(code)))
    return dict.fromkeys(invisible, None) | {
        ord(char): to for char, to in (_LETTERS | _PAIRS).items()
    }


def _is_dropped(char: str) -> bool:
    return unicodedata.category(char) in ("Mn", "Cf", "Me")


def _parts(spelling: str) -> Reading:
    return tuple(_word(part) for part in _PART.findall(spelling))


def _word(text: str) -> str:
    return text.casefold()[:MAX_WORD_CHARS]


@dataclass(frozen=True)
class Wanted:
    """What a text asks for.

    Attributes:
        words: each in all its spellings; all must be found.
        phrases: each in all its readings; all must be found.
        excluded: the same; none may be found.
        is_blank: whether there was no text at all. Text without a word in it finds nothing.
    """

    words: tuple[frozenset[str], ...] = ()
    phrases: tuple[frozenset[Reading], ...] = ()
    excluded: tuple[frozenset[Reading], ...] = ()
    is_blank: bool = False

    @property
    def has_score(self) -> bool:
        """Whether one entry can be a better match than another."""
        return bool(self.words or self.phrases)

    @property
    def forgives(self) -> bool:
        """Whether a word may have typing errors."""
        return any(edits_forgiven(word) for spellings in self.words for word in spellings)

    @property
    def is_nothing(self) -> bool:
        """Whether nothing can be found, whatever there is."""
        return not (self.has_score or self.excluded or self.is_blank)


def wanted(text: str) -> Wanted:
    """Read what somebody typed.

    Raises:
        InvalidInput: it has more than MAX_WORDS words.

    >>> wanted('weldTorque -"spare parts"').words
    (frozenset({'weld'}), frozenset({'torque'}))
    """
    words: list[frozenset[str]] = []
    phrases: list[frozenset[Reading]] = []
    excluded: list[frozenset[Reading]] = []
    for minus, quoted, bare in _ITEM.findall(text):
        read = _spelled_readings(quoted or bare)
        if not read:
            continue
        if minus:
            excluded.append(frozenset(read))
        elif quoted:
            phrases.append(frozenset(read))
        else:
            words += _by_word(read)
    number = len(words) + sum(len(next(iter(each))) for each in phrases + excluded)
    if number > MAX_WORDS:
        raise InvalidInput(f"the text has {number} words; search for up to {MAX_WORDS}")
    return Wanted(tuple(words), tuple(phrases), tuple(excluded), not text or text.isspace())


def _spelled_readings(text: str) -> list[Reading]:
    found = map(_parts, spellings(text))
    return [reading for reading in dict.fromkeys(found) if reading]


def _by_word(read: list[Reading]) -> list[frozenset[str]]:
    """Bring the spellings of each word together; spellings of other lengths do not line up."""
    alike = [reading for reading in read if len(reading) == len(read[0])]
    return [frozenset(spelled) for spelled in zip(*alike, strict=True)]


def edits_forgiven(word: str) -> int:
    """How many typing errors a word may have; numbers and short words none."""
    if not word.isalpha() or len(word) < 4:
        return 0
    return 1 if len(word) < 8 else 2
