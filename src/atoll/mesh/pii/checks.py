"""Check digits and other rules that tell a real identifier from digits that look like one.

Each function takes the characters without separators, in capitals, and expects the shape that
`values` has matched already: what it answers for others means nothing, but it raises nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import date

_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in (
        line.split(maxsplit=1)
        for line in """\
15 NO
16 BE
18 DK FI FO GL NL
19 MK SI
20 AT BA EE KZ LT LU XK
21 CH HR LI LV
22 BG BH CR DE GB GE IE ME RS
23 AE GI IL IQ OM TL
24 AD CZ ES MD PK RO SA SE SK TN VG
25 PT
26 IS TR
27 FR GR IT MC SM
28 AL AZ BY CY DO GT HU LB LC PL
29 BR EG PS QA UA
30 JO KW MU
31 MT SC""".splitlines()
    )
    for country in countries.split()
}
_VIN_VALUES = dict(
    zip("0123456789ABCDEFGHJKLMNPRSTUVWXYZ", "012345678912345678123457923456789", strict=True)
)
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
# North America and China write a check digit at the ninth place, others what they like.
_CHECKED_REGIONS = "12345L"
_CODICE_ODD = dict(zip("0123456789", (1, 0, 5, 7, 9, 13, 15, 17, 19, 21), strict=True)) | dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            1,
            0,
            5,
            7,
            9,
            13,
            15,
            17,
            19,
            21,
            2,
            4,
            18,
            20,
            11,
            3,
            6,
            8,
            12,
            14,
            16,
            10,
            22,
            25,
            24,
            23,
        ),
        strict=True,
    )
)
_CODICE_MONTHS = "ABCDEHLMPRST"
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
# Of natural persons; 5 is a company's, 6 a public body's.
_NIF_PERSONS = ("1", "2", "3", "45")


def is_iban(text: str) -> bool:
    """Tell whether country, length and check digits are an IBAN's.

    Source: ISO 13616-1:2020 (check digits as in ISO/IEC 7064, MOD 97-10).
    """
    if len(text) != _IBAN_LENGTHS.get(text[:2]):
        return False
    return int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1


def is_payment_card(digits: str) -> bool:
    """Tell whether issuer, length and check digit are a payment card's.

    Source: ISO/IEC 7812-1:2017, annex B (Luhn); the issuers' published ranges.
    """
    return _is_issued(digits) and _luhn(digits) == 0


def _is_issued(digits: str) -> bool:
    two, four, length = int(digits[:2]), int(digits[:4]), len(digits)
    if two in (34, 37):
        return length == 15
    if two in (36, 38) or 300 <= four // 10 <= 305:
        return length == 14
    if digits[0] == "4":
        return length in (16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return length == 16
    return length in (16, 19) and (two in (50, 60, 62, 64, 65, 67) or 3528 <= four <= 3589)


def _luhn(digits: str) -> int:
    doubled = "0246813579"
    return sum(
        int(doubled[int(digit)] if place % 2 else digit)
        for place, digit in enumerate(reversed(digits))
    ) % 10  # fmt: skip


def is_vin(text: str) -> bool:
    """Tell whether a vehicle may carry this number.

    Where the region writes a check digit, it must be right. Elsewhere only the form speaks: the
    last four places count vehicles, and of the three that name the maker one is a letter at least.

    Source: ISO 3779:2009; 49 CFR 565.15 (check digit).
    """
    has_form = text[-4:].isdigit() and any(char.isalpha() for char in text[:3])
    return has_form and (text[0] not in _CHECKED_REGIONS or _is_checked_vin(text))


def _is_checked_vin(text: str) -> bool:
    total = sum(
        int(_VIN_VALUES[char]) * weight for char, weight in zip(text, _VIN_WEIGHTS, strict=True)
    )
    return text[8] == "0123456789X"[total % 11]


def is_german_tax_id(digits: str) -> bool:
    """Tell whether this is a Steuer-Identifikationsnummer.

    Of the first ten digits one occurs twice or three times, the others at most once.

    Source: § 139b AO; Bundeszentralamt für Steuern; ISO/IEC 7064, MOD 11,10 (check digit).
    """
    counts = sorted((digits[:10].count(digit) for digit in set(digits[:10])), reverse=True)
    if digits[0] == "0" or counts[0] not in (2, 3) or counts[1] > 1:
        return False
    product = 10
    for digit in digits[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def is_nif(digits: str) -> bool:
    """Tell whether this is the Portuguese NIF of a natural person.

    Source: Decreto-Lei 14/2013; weights 9 to 2, modulo 11.
    """
    rest = _weighted(digits[:8], range(9, 1, -1)) % 11
    return digits.startswith(_NIF_PERSONS) and int(digits[8]) == (0 if rest < 2 else 11 - rest)


def is_dni(text: str) -> bool:
    """Tell whether this is a Spanish DNI, or a NIE, which begins with X, Y or Z.

    Source: Real Decreto 1553/2005; Orden INT/2058/2008; the number modulo 23 chooses the letter.
    """
    number = str("XYZ".find(text[0])) + text[1:-1] if text[0] in "XYZ" else text[:-1]
    return _DNI_LETTERS[int(number) % 23] == text[-1]


def is_codice_fiscale(text: str) -> bool:
    """Tell whether this is an Italian codice fiscale.

    Source: Decreto ministeriale 23 dicembre 1976, 13813.
    """
    odd = sum(_CODICE_ODD[char] for char in text[0:15:2])
    even = sum(int(char) if char.isdigit() else ord(char) - ord("A") for char in text[1:15:2])
    return text[8] in _CODICE_MONTHS and chr(ord("A") + (odd + even) % 26) == text[15]


def is_nir(text: str) -> bool:
    """Tell whether this is a French NIR ("numéro de sécurité sociale") with its key.

    Source: Décret 82-103; key 97 - number modulo 97, Corsica's 2A and 2B counting as 19 and 18.
    """
    number = text[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(text[13:])


def is_pesel(digits: str) -> bool:
    """Tell whether this is a Polish PESEL; its month carries the century.

    Source: Ustawa o ewidencji ludności, 24 September 2010, article 15; weights 1 3 7 9.
    """
    total = _weighted(digits[:10], (1, 3, 7, 9, 1, 3, 7, 9, 1, 3))
    century, month = divmod(int(digits[2:4]), 20)
    year = (1900, 2000, 2100, 2200, 1800)[century] + int(digits[:2])
    return (10 - total) % 10 == int(digits[10]) and _is_date(year, month, int(digits[4:6]))


def is_cpf(digits: str) -> bool:
    """Tell whether this is a Brazilian CPF.

    Source: Receita Federal, Instrução Normativa RFB 1548/2015; two digits, modulo 11.
    """
    first, second = (
        _weighted(digits[:length], range(length + 1, 1, -1)) * 10 % 11 % 10 for length in (9, 10)
    )
    return len(set(digits)) > 1 and digits[9:] == f"{first}{second}"


def is_ip_address(text: str) -> bool:
    """Tell whether this is an address of IPv4 or IPv6, and not the number of a version."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    # 4.12.2.0 is a firmware's number sooner than an address.
    return found.version == 6 or found.packed[0] == 10 or max(found.packed) >= 30


def has_phone_length(text: str) -> bool:
    """Tell whether an international number has as many digits as one may have.

    Source: ITU-T E.164 (at most 15); shorter than 9 none is in practice.
    """
    return 9 <= sum(map(str.isdigit, text)) <= 15


def _weighted(digits: str, weights: Iterable[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
