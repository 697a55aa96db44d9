"""What the values of a column say: how many look like, and how many prove to be, of a kind.

Shapes are matched by RE2, in time linear in the length of a value whatever it holds. Counted
repeats are kept short and anchored: RE2 has no fast automaton for long ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from atoll.mesh.pii import checks
from atoll.mesh.pii.model import Kind
from atoll.mesh.pii.persons import is_name

# Nothing longer is a single value of any kind.
_MOST_CHARS = 120
# Letters, for use within brackets: all that is not ASCII counts. Unicode's own classes take RE2
# milliseconds to compile, and each call compiles.
_L = r"A-Za-z\x{80}-\x{10FFFF}"
_EMAIL = rf"^[{_L}0-9.!#$%&'*+/=?^_{{|}}~-]+@(?:[{_L}0-9][{_L}0-9-]*\.)+[{_L}]+$"
_NAME = rf"^[{_L}][{_L} .,'-]+$"
_STREET = (
    rf"(?i)(?:[{_L}](?:stra(?:ss|ß)e|str\.|weg|platz|allee|gasse|ring|damm|ufer)"
    r"|\b(?:stra(?:ss|ß)e|str|street|st|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|court"
    r"|rua|avenida|av|travessa|largo|praceta|estrada|calle|c/|plaza|paseo|camino|via|viale|piazza"
    r"|corso|rue|ulica|ul)\b)"
)
# Words, a place, a postcode, the number of a house; not the address of a memory or of a file.
_ADDRESS_PART = (
    rf"[{_L}]{{2}}.*[ .,].*[{_L}0-9]|^[{_L}][{_L} .'()-]+$|^[0-9]{{4,5}}(?:-[0-9]{{3,4}})?$"
    r"|^[0-9]{1,4} ?[A-Za-z]?$|^[A-Z]{1,2}[0-9][0-9A-Z]? ?[0-9][A-Z]{2}$|^[0-9]{2}-[0-9]{3}$"
)
# An e-mail address, an international phone number, or a form of address with a name.
_MENTION = (
    rf"[{_L}0-9._%+-]@[{_L}0-9][{_L}0-9.-]*\.[{_L}]{{2}}"
    rf"|(?:^|[^{_L}0-9+])\+[1-9](?:[ ()/.-]?[0-9]){{8}}"
    rf"|(?:^|[^{_L}0-9])(?:Herrn?|Frau|Mrs?|Ms|Sra?|Senhora?|Señora?|D\.|Dona|Kolleg(?:e|in))\.? "
    r"[A-ZÀ-Þ][a-zß-ÿ]"
)
_PROSE = rf"[{_L}]\S*\s+\S*[{_L}]\S*\s+\S*[{_L}]"


@dataclass(frozen=True)
class Proof:
    """A rule that a value must pass to be of a kind.

    Attributes:
        shape: RE2; the whole value, or what is left of it without separators and in capitals.
        is_valid: told of what has the shape; None where that is enough.
        is_compact: separators and case do not count.
    """

    shape: str
    is_valid: Callable[[str], bool] | None = None
    is_compact: bool = True


@dataclass(frozen=True)
class Rule:
    """How a kind is found among values.

    Attributes:
        proofs: a value that passes one is of the kind; () where values prove nothing.
        share: of the distinct values that must pass.
        least: how many must.
        confidence: that all of this gives.
        looks: what values may look like as well, for the name of their column to be believed; None
            allows nothing but the shapes of the proofs.
    """

    proofs: tuple[Proof, ...] = ()
    share: float = 0.6
    least: int = 3
    confidence: float = 0.8
    looks: Proof | None = None


@dataclass(frozen=True)
class Found:
    """How many of the distinct values of a column are of a kind."""

    proven: int
    look: int
    total: int

    def proves(self, rule: Rule, *, is_named: bool) -> bool:
        """Tell whether the values say enough; a name that says the same asks for fewer."""
        least = 1 if is_named else rule.least
        return self.proven >= max(least, rule.share * self.total)

    @property
    def contradicts(self) -> bool:
        """Tell whether most values cannot be of the kind."""
        return self.look < self.total / 2


_NATIONAL_IDS = (
    Proof(r"^[0-9]{11}$", checks.is_german_tax_id),
    Proof(r"^(?:PT)?[1-4][0-9]{8}$", lambda text: checks.is_nif(text[-9:])),
    Proof(r"^(?:[0-9]{8}|[XYZ][0-9]{7})[A-Z]$", checks.is_dni),
    Proof(
        r"^[A-Z]{6}[0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]$",
        checks.is_codice_fiscale,
    ),
    Proof(r"^[12][0-9]{4}(?:[0-9]{2}|2[AB])[0-9]{8}$", checks.is_nir),
    Proof(r"^[0-9]{11}$", checks.is_pesel),
    Proof(r"^[0-9]{11}$", checks.is_cpf),
)
# Britain's and America's carry no check digit: only a name beside them proves them.
RULES: dict[Kind, Rule] = {
    Kind.EMAIL: Rule((Proof(_EMAIL, is_compact=False),), least=1, confidence=0.95),
    Kind.IBAN: Rule(
        (Proof(r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,27}$", checks.is_iban),), least=1, confidence=0.95
    ),
    Kind.PAYMENT_CARD: Rule(
        (Proof(r"^[2-6][0-9]{13,18}$", checks.is_payment_card),),
        share=0.8, least=5, confidence=0.9, looks=Proof(r"^[0-9]{12,19}$"),
    ),
    Kind.NATIONAL_ID: Rule(
        _NATIONAL_IDS, share=0.8, least=8, confidence=0.85, looks=Proof(r"^[A-Z0-9]{5,20}$")
    ),
    Kind.VIN: Rule((Proof(r"^[A-HJ-NPR-Z0-9]{17}$", checks.is_vin),), confidence=0.9),
    Kind.PHONE: Rule(
        # SAP fills numbers up with zeros: 00 in front proves no country.
        (Proof(r"^\(?\+[1-9][0-9 ()/.-]+$", checks.has_phone_length, is_compact=False),),
        looks=Proof(r"^\+?[0-9]{5,16}(?:X[0-9]+)?$"),
    ),
    Kind.IP_ADDRESS: Rule(
        (Proof(r"^[0-9A-Fa-f:.]{3,45}$", checks.is_ip_address, is_compact=False),)
    ),
    Kind.MAC_ADDRESS: Rule(
        (
            Proof(r"^[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}$", is_compact=False),
            Proof(r"^[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2}$", is_compact=False),
        ),
        looks=Proof(r"^[0-9A-F:]{12,17}$"),
    ),
    Kind.PERSON_NAME: Rule(
        (Proof(_NAME, is_name, is_compact=False),),
        share=0.25, least=5, confidence=0.7,
    ),
    Kind.POSTAL_ADDRESS: Rule(
        (Proof(rf"{_STREET}.*[0-9]|^[0-9]+[A-Za-z]? .*{_STREET}", is_compact=False),),
        least=8, confidence=0.75, looks=Proof(_ADDRESS_PART, is_compact=False),
    ),
    Kind.BIRTH_DATE: Rule(
        looks=Proof(
            r"^(?:[0-9]{1,2}[./-]){0,2}(?:19|20)[0-9]{2}|^(?:[0-9]{1,2}[./-]){2}[0-9]{2}$",
            is_compact=False,
        )
    ),
    Kind.EMPLOYEE_NUMBER: Rule(
        (Proof(r"^[A-Z]{0,4}[0-9]{3,12}$"),),
        share=0.8, confidence=0.3, looks=Proof(r"^[A-Z]{0,4}[0-9]{1,12}$"),
    ),
    Kind.LICENCE_PLATE: Rule(
        (
            Proof(r"^[A-ZÄÖÜ]{1,3}[- ][A-Z]{1,2}[- ]?[0-9]{1,4}[EH]?$", is_compact=False),
            Proof(r"^(?:[A-Z]{2}|[0-9]{2})(?:[- ]?(?:[A-Z]{2}|[0-9]{2})){2}$", is_compact=False),
            Proof(r"^[0-9]{4}[A-Z]{3}$|^[A-Z]{2}[0-9]{2}[A-Z]{3}$|^[A-Z]{2}[0-9]{3}[A-Z]{2}$"),
        ),
        confidence=0.4, looks=Proof(r"^[A-ZÄÖÜ0-9]{4,10}$"),
    ),
    Kind.BANK_ACCOUNT: Rule(looks=Proof(r"^[A-Z0-9]{5,34}$")),
    Kind.USER_ACCOUNT: Rule(looks=Proof(r"^[^ ]+$", is_compact=False)),
}  # fmt: skip


def count_of(kind: Kind, values: pa.Array) -> Found:
    """Count the values that are, and that look like, of a kind; `values` as `Leaf` has them."""
    rule = RULES[kind]
    short = values.filter(pc.less_equal(pc.utf8_length(values), _MOST_CHARS))
    compact = pc.utf8_upper(pc.replace_substring_regex(short, r"[ ()/.,_-]", ""))
    proven = pa.array([False] * len(short), pa.bool_())
    look = proven
    for proof in (*rule.proofs, rule.looks):
        if proof is None:
            continue
        texts = compact if proof.is_compact else short
        has_shape = pc.match_substring_regex(texts, proof.shape)
        look = pc.or_(look, has_shape)
        if proof is not rule.looks:
            proven = pc.or_(proven, _passed(texts, has_shape, proof.is_valid))
    return Found(pc.sum(proven).as_py() or 0, pc.sum(look).as_py() or 0, len(values))


def _passed(
    texts: pa.Array, has_shape: pa.Array, is_valid: Callable[[str], bool] | None
) -> pa.Array:
    if is_valid is None:
        return has_shape
    checked = [is_valid(text) for text in texts.filter(has_shape).to_pylist()]
    return pc.replace_with_mask(has_shape, has_shape, pa.array(checked, pa.bool_()))


def hidden_of(values: pa.Array) -> int:
    """Count the values that are hashed or starred out."""
    return _count(values, r"^(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64})$|\*\*|^[xX]{4}")


def mentions_of(values: pa.Array) -> int:
    """Count the texts of several words in which a person can be recognised."""
    texts = values.filter(pc.match_substring(values, " "))
    return _count(texts, _MENTION)


def prose_of(values: pa.Array) -> int:
    """Count the values of at least three words."""
    return _count(values, _PROSE)


def _count(values: pa.Array, pattern: str) -> int:
    return pc.sum(pc.match_substring_regex(values, pattern)).as_py() or 0
