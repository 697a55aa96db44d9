"""What values say, with a name, without one, and against it. None of them is anybody's."""

import pyarrow as pa
import pytest

from atoll.core.errors import InvalidInput
from atoll.mesh.pii import Column, Kind, propose
from atoll.mesh.pii.leaves import MAX_VALUES

N = 40
GIVEN = ["Maria", "João", "Ana", "Rui", "Hans", "Petra", "Javier", "Lucia", "Marco", "Giulia"]
FAMILY = [
    "Silva",
    "Santos",
    "Müller",
    "Schmidt",
    "García",
    "Rossi",
    "Costa",
    "Weber",
    "Cruz",
    "Abe",
]


def of(make, count=N):
    return [make(number) for number in range(count)]


def proposed(values, name="c", type_=None):
    table = pa.table({name: pa.array(values, type_)})
    return propose([Column(name, str(table.schema.field(0).type))], table)


def nif(number):
    digits = f"2{number:07d}"
    rest = sum(int(d) * w for d, w in zip(digits, range(9, 1, -1), strict=True)) % 11
    return digits + str(0 if rest < 2 else 11 - rest)


def luhn(number):
    digits = f"411111{number:09d}"
    doubled = [int(d) * (2 - at % 2) for at, d in enumerate(digits)]
    return digits + str(-sum(sum(divmod(d, 10)) for d in doubled) % 10)


PERSONAL = {
    Kind.EMAIL: of("worker{}@example.com".format),
    Kind.PHONE: of("+351 912 345 {:03d}".format),
    Kind.NATIONAL_ID: of(nif),
    Kind.PAYMENT_CARD: of(luhn),
    Kind.IBAN: ["DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819"] * 3,
    Kind.IP_ADDRESS: of("192.168.0.{}".format),
    Kind.MAC_ADDRESS: of("00:1a:2b:3c:4d:{:02x}".format),
    Kind.VIN: of("WVWZZZ1KZAW{:06d}".format),
    Kind.PERSON_NAME: of(lambda at: f"{GIVEN[at % 10]} {FAMILY[at // 10]}"),
    Kind.POSTAL_ADDRESS: of("Rua da Fábrica {}, 2950 Palmela".format),
}
# What plants are full of, under names that say nothing.
OTHERS = {
    "serials": of("SN-2024-{:06d}".format),
    "order numbers": of("000001{:06d}".format),
    "zero-filled customers": of("0010{:06d}".format),
    "nine digits": of("2{:08d}".format),
    "eleven digits": of("86{:09d}".format),
    "sixteen digits": of("41{:014d}".format),
    "milliseconds": of(lambda at: 1760000000000 + 8 * at),
    "timestamps": of("2026-03-02 10:00:{:02d}".format),
    "versions": of("4.12.{}.0".format),
    "signed numbers": of("+{}".format),
    "product names": ["Golf", "Polo", "Charlotte", "T-Roc", "Sharan", "ID.4", "Arteon"],
    "plants": ["Wolfsburg", "Palmela", "Emden", "Martorell", "Pamplona", "Bratislava"],
    "production lines": ["Montagestraße 1", "Montagestraße 2", "Taktstraße 1", "Lackierstraße 3"],
    "codes": of("AB-{:03d}-CD".format),
    "part numbers": of("5Q0 {:03d} 461 B".format),
    "hashes": of("{:032x}".format),
    "uuids": of("6ba7b810-9dad-11d1-80b4-00c04fd430{:02x}".format),
    "urls": of("https://line1.example/robots/{}".format),
    "users at hosts": of("robot@line{}".format),
    "words": ["ok", "not ok", "rework", "scrap", "unknown", "pending"],
    "alarms": of("Motor {} overheated, belt stopped".format),
    "sensor text": of("0{},5".format),
}


@pytest.mark.parametrize("kind", PERSONAL)
def test_values_alone_prove_their_kind(kind):
    (found,) = proposed(PERSONAL[kind])
    assert found.kind is kind
    assert kind.plural in found.evidence


@pytest.mark.parametrize("what", OTHERS)
def test_values_of_machines_are_not_proposed(what):
    assert proposed(OTHERS[what]) == []


@pytest.mark.parametrize("type_", [pa.float64(), pa.float32(), pa.int64(), pa.timestamp("us")])
def test_numbers_and_times_are_not_proposed(type_):
    assert proposed([number * 7919 % 100_003 for number in range(500)], type_=type_) == []


def test_fractions_number_nobody():
    assert proposed([1.5, 2.25], "driver") == []
    assert proposed([1.0, None], "driver")[0].kind is Kind.EMPLOYEE_NUMBER


def test_numbers_are_checked_as_their_digits():
    (found,) = proposed([int(value) for value in PERSONAL[Kind.NATIONAL_ID]])
    assert found.kind is Kind.NATIONAL_ID
    (found,) = proposed([*map(float, PERSONAL[Kind.NATIONAL_ID]), None])
    assert found.kind is Kind.NATIONAL_ID


def test_a_few_addresses_among_other_values_are_found_and_counted():
    (found,) = proposed(["a@example.com", "b@example.org", "c@example.net", *of(str, 197)])
    assert found.kind is Kind.EMAIL
    assert found.evidence == "3 of 200 distinct values are e-mail addresses"
    assert proposed(["a@example.com", *of(str, 500)]) == []


@pytest.mark.parametrize(
    "text",
    [
        "please call +351 912 345 678 before noon",
        "sent to ana.silva@example.com yesterday",
        "Herr Müller has the key",
        "asked Mrs. Smith, she agrees",
        "Sra. Pereira viu a fuga de óleo",
    ],
)
def test_text_that_mentions_persons_is_found_whatever_its_name(text):
    (found,) = proposed([text, text + "!", *OTHERS["alarms"]], "line_status")
    assert found.kind is Kind.FREE_TEXT
    assert found.evidence == "2 of 42 distinct values mention a person"


def test_a_comment_is_text_of_several_words():
    assert proposed(OTHERS["alarms"], "comment")[0].kind is Kind.FREE_TEXT
    assert proposed(OTHERS["words"], "comment") == []


def test_a_name_is_not_believed_against_its_values():
    assert proposed(["sent", "bounced", "opened"], "email") == []
    assert proposed(["nvidia-550.90", "iwlwifi", "mlx5_core"], "driver") == []
    assert proposed(["==", "<", ">="], "operator") == []


def test_hashed_values_are_still_somebodys():
    (found,) = proposed(OTHERS["hashes"], "email")
    assert found.kind is Kind.EMAIL
    assert "hashed or starred out" in found.evidence


def test_the_number_of_a_worker_under_a_role_is_an_employee_number():
    (found,) = proposed(of("W{:05d}".format), "operator")
    assert found.kind is Kind.EMPLOYEE_NUMBER
    (found,) = proposed(PERSONAL[Kind.PERSON_NAME], "operator")
    assert found.kind is Kind.PERSON_NAME


def test_things_may_be_called_as_persons_are():
    names = ["Charlotte", "Victor", "Hugo", "Oscar", "Emma", "Maria", "Bruno"]
    assert proposed(names, "robot_name") == []
    assert proposed(of("10.0.0.{}".format), "plc_ip") == []


@pytest.mark.parametrize("plates", [of("WOB-AB {}".format), of("{:02d}-AB-99".format)])
def test_plates_need_a_name_beside_them(plates):
    assert proposed(plates) == []
    (found,) = proposed(plates, "truck_plate")
    assert found.kind is Kind.LICENCE_PLATE
    assert found.confidence > 0.9
    (weak,) = proposed(plates, "matricula")
    assert weak.kind is Kind.LICENCE_PLATE


def test_identifiers_without_a_check_digit_need_a_name():
    ssn, nino = of("123-45-{:04d}".format), of("QQ{:06d}C".format)
    assert proposed(ssn) == proposed(nino) == []
    assert proposed(ssn, "ssn")[0].kind is Kind.NATIONAL_ID
    assert proposed(nino, "nino")[0].kind is Kind.NATIONAL_ID


def test_a_value_that_repeats_is_counted_once():
    (found,) = proposed(["a@example.com"] * 900 + ["b@example.com"])
    assert found.evidence == "2 of 2 distinct values are e-mail addresses"


def test_no_more_values_are_looked_at_than_promised():
    many = of("w{}@example.com".format, MAX_VALUES * 3)
    (found,) = proposed(many)
    assert f"{MAX_VALUES:,} of {MAX_VALUES:,} distinct" in found.evidence


def test_empty_samples_leave_the_name_to_speak():
    (found,) = proposed([], "email", pa.string())
    assert (found.kind, found.evidence) == (Kind.EMAIL, "the name says e-mail address")
    assert proposed([None, None, "", " "], "email", pa.string()) == [found]


def test_columns_beyond_all_measure_are_refused():
    with pytest.raises(InvalidInput, match="10,001 columns"):
        propose([Column("a", "string")] * 10_001)
