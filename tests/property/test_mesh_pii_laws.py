"""Laws of the detector of personal data: oracles for check digits, and nothing that breaks it."""

import string

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.mesh.pii import Column, Kind, Proposal, checks, propose

DIGITS = "0123456789"


def digits(count, first=DIGITS):
    rest = st.text(DIGITS, min_size=count - 1, max_size=count - 1)
    return st.builds(str.__add__, st.sampled_from(first), rest)


def luhn(text):
    """As ISO/IEC 7812 puts it: double every second, add the digits of all."""
    doubled = [int(d) * (2 if at % 2 else 1) for at, d in enumerate(text[::-1])]
    return sum(int(d) for d in "".join(map(str, doubled))) % 10 == 0


def nif(text):
    """The check digit makes the weighted sum divisible by 11; 0 stands for 10, too."""
    total = sum((9 - at) * int(d) for at, d in enumerate(text))
    return total % 11 == 0 or (text[-1] == "0" and (total + 10) % 11 == 0)


def mod_11_10(text):
    """ISO/IEC 7064, pure recursive: the product ends at 1."""
    product = 10
    for digit in map(int, text[:-1]):
        product = 2 * ((product + digit) % 10 or 10) % 11
    return (product + int(text[-1])) % 10 == 1


def cpf(text):
    """Both weighted sums leave 0 by 11, or 1 where the digit is 0."""
    return len(set(text)) > 1 and all(
        sum(int(d) * w for d, w in zip(text, range(length, 0, -1), strict=False)) % 11
        in ((0, 1) if text[length - 1] == "0" else (0,))
        for length in (10, 11)
    )


@given(digits(16, "45"))
def test_cards_are_those_of_an_independent_rule(text):
    is_issued = text[0] == "4" or text[1] in "12345" or text[:2] == "50"
    assert checks.is_payment_card(text) == (is_issued and luhn(text))


@given(digits(9, "123"))
def test_portuguese_numbers_are_those_of_an_independent_rule(text):
    assert checks.is_nif(text) == nif(text)


@given(st.permutations(DIGITS), st.integers(0, 8), st.sampled_from(DIGITS))
def test_german_numbers_are_those_of_an_independent_rule(order, again, last):
    text = "".join(order[:9]) + order[again] + last
    assert checks.is_german_tax_id(text) == (text[0] != "0" and mod_11_10(text))


@given(digits(11))
def test_german_numbers_repeat_one_of_ten_digits_only(text):
    repeats = sorted(text[:10].count(digit) for digit in set(text[:10]))
    if checks.is_german_tax_id(text):
        assert repeats[:-1] == [1] * (len(repeats) - 1)
        assert repeats[-1] in (2, 3)


@given(digits(11))
def test_brazilian_numbers_are_those_of_an_independent_rule(text):
    assert checks.is_cpf(text) == cpf(text)


@given(st.sampled_from(["DE", "PT", "GB", "FR"]), st.text(DIGITS, min_size=30, max_size=30))
def test_of_all_check_digits_of_an_iban_one_is_right(country, rest):
    length = {"DE": 18, "PT": 21, "GB": 18, "FR": 23}[country]
    right = [at for at in range(2, 99) if checks.is_iban(f"{country}{at:02}{rest[:length]}")]
    number = "".join(str(int(char, 36)) for char in rest[:length] + country)
    assert right == [98 - int(number + "00") % 97]


@given(st.text(sorted(checks._VIN_VALUES), min_size=13, max_size=13), st.integers(1000, 9999))
def test_of_all_check_digits_of_an_american_vin_one_is_right(body, number):
    text = f"1A{body[2:]}{number}"
    right = [char for char in "0123456789X" if checks.is_vin(text[:8] + char + text[9:])]
    assert len(right) == 1


CHECKS = [
    (checks.is_iban, 15, 34),
    (checks.is_payment_card, 14, 19),
    (checks.is_vin, 17, 17),
    (checks.is_german_tax_id, 11, 11),
    (checks.is_nif, 9, 9),
    (checks.is_pesel, 11, 11),
    (checks.is_cpf, 11, 11),
]


@pytest.mark.parametrize("check", [one for one in CHECKS if one[0] is not checks.is_iban])
@given(st.data())
def test_any_digits_can_be_checked(check, data):
    is_valid, least, most = check
    is_valid(data.draw(st.text("123456789" + "0", min_size=least, max_size=most)))


NAMES = st.one_of(
    st.text(max_size=300),
    st.text(string.ascii_letters + "_. -", max_size=60),
    st.sampled_from(["email", "PERNR", "name", "operator", "lat", "iban", "comment", "vin"]),
)
VALUES = st.one_of(
    st.lists(st.none() | st.text(max_size=200), max_size=20),
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=20),
    st.lists(st.none() | st.floats(), max_size=20),
    st.lists(st.none() | st.dates(), max_size=5),
    st.lists(st.none() | st.binary(max_size=20), max_size=5),
    st.lists(st.lists(st.text(max_size=20), max_size=3), max_size=5),
    st.lists(st.fixed_dictionaries({"e-mail": st.text(), "n": st.integers(0, 9)}), max_size=5),
)


def proposed(name, values, description=""):
    array = pa.array(values)
    table = pa.Table.from_arrays([array], names=[name])
    return propose([Column(name, str(array.type), description)], table)


@given(NAMES, VALUES, st.text(max_size=200))
def test_nothing_breaks_it_and_every_proposal_is_whole(name, values, description):
    for found in proposed(name, values, description):
        assert isinstance(found, Proposal)
        assert found.column == name
        assert found.kind in Kind
        assert 0.5 <= found.confidence <= 1
        assert found.evidence.isprintable()
        assert len(found.evidence) < 400


@given(st.text(max_size=500))
def test_any_text_for_a_type_is_read(type_text):
    propose([Column("email", type_text), Column("c", f"struct<{type_text}: string>")])


@settings(max_examples=30)
@given(st.permutations([f"w{number}@example.com" for number in range(5)] + ["x", "y", "z"]))
def test_the_order_of_rows_does_not_matter(values):
    (found,) = proposed("c", values)
    assert found.evidence == "5 of 8 distinct values are e-mail addresses"


@settings(max_examples=30)
@given(st.permutations(["name", "birth_date", "city", "machine", "street"]))
def test_the_order_of_columns_does_not_matter(names):
    found = propose([Column(name, "string") for name in names])
    assert {one.column: one.kind for one in found} == {
        "name": Kind.PERSON_NAME,
        "birth_date": Kind.BIRTH_DATE,
        "city": Kind.POSTAL_ADDRESS,
        "street": Kind.POSTAL_ADDRESS,
    }


SECRETS = [
    "zq7xkv.jw9@example.com",
    "+351 961 237 845",
    "Zqxkvelina Wjohnsonova",
    "DE89370400440532013000",
    "Rua Zqxkv 17, 2950 Palmela",
    "ask Herr Zqxkvmann about it please",
]


@settings(max_examples=50)
@given(st.lists(st.sampled_from(SECRETS), min_size=1, max_size=60), NAMES)
def test_evidence_quotes_no_value(values, name):
    for found in proposed(name, values):
        for value in values:
            assert not any(part in found.evidence for part in value.split() if len(part) > 4)


# Each made to be slow for one of the patterns, or to be cut in a bad place.
HOSTILE = {
    "at signs": "a@" * 500,
    "an endless mail": "a" * 990 + "@",
    "dots": "a@" + "a." * 499,
    "plus and digits": "+1 " * 333,
    "digits": "1" * 1000,
    "hex": "ab:" * 333,
    "streets": "Straße " * 140,
    "forms of address": "Herr Herr. " * 90,
    "spaces": " " * 999 + "x",
    "letters and spaces": "aa " * 333,
    "accents": "e\u0301" * 500,
    "astral": "\U0001f600" * 1000,
    "right to left": "\u202e@example.com" * 60,
    "zeros": "\0" * 1000,
    "brackets": "(" * 500 + ")" * 500,
    "iban": "DE89" * 250,
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_values_end_soon(text):
    values = [text[:length] + str(length) for length in range(1, 1000, 2)]
    for name in ("c", "email", "comment"):
        proposed(name, values)


@settings(max_examples=20)
@given(st.sampled_from(["email", "name", "a_", "ü", "X", "9", "kundentelefonnummer"]))
def test_endless_names_are_cut(part):
    propose([Column(part * 100_000, "string", part * 100_000)])
