"""The nouns of personal data: a column as the catalog knows it, a kind, a proposal."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a column may tell of a person."""

    PERSON_NAME = "person_name"
    EMAIL = "email"
    PHONE = "phone"
    POSTAL_ADDRESS = "postal_address"
    BIRTH_DATE = "birth_date"
    NATIONAL_ID = "national_id"
    IBAN = "iban"
    BANK_ACCOUNT = "bank_account"
    PAYMENT_CARD = "payment_card"
    EMPLOYEE_NUMBER = "employee_number"
    USER_ACCOUNT = "user_account"
    IP_ADDRESS = "ip_address"
    MAC_ADDRESS = "mac_address"
    LICENCE_PLATE = "licence_plate"
    VIN = "vin"
    LOCATION = "location"
    FREE_TEXT = "free_text"

    @property
    def noun(self) -> str:
        """Name one value of the kind in a sentence."""
        return _NOUNS.get(self, self.value.replace("_", " "))

    @property
    def plural(self) -> str:
        """Name several values of the kind in a sentence."""
        noun = self.noun
        if self is Kind.LOCATION:
            return noun
        return noun + ("es" if noun.endswith("s") else "s")


_NOUNS = {
    Kind.EMAIL: "e-mail address",
    Kind.PHONE: "phone number",
    Kind.IBAN: "IBAN",
    Kind.IP_ADDRESS: "IP address",
    Kind.MAC_ADDRESS: "MAC address",
    Kind.VIN: "vehicle identification number",
    Kind.LOCATION: "coordinates of a person",
}


@dataclass(frozen=True)
class Column:
    """A column as the catalog knows it.

    Attributes:
        name: at the top of the table; any text.
        type: Arrow's own text for it, `str(field.type)`, nested ones whole.
        description: what its owner wrote about it; "" where nothing.
    """

    name: str
    type: str
    description: str = ""


@dataclass(frozen=True)
class Proposal:
    """What somebody should decide on: this column may hold personal data of that kind.

    Attributes:
        column: its name at the top of the table.
        kind: of the personal data.
        confidence: 0.5 to 1; how sure, by judgement: no measured probability.
        evidence: why, in words for people. It quotes no value; of names, only fields in the column.
    """

    column: str
    kind: Kind
    confidence: float
    evidence: str
