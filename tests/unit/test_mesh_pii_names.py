"""What the name, the type and the description of a column say, without any value."""

import pytest

from atoll.mesh.pii import Column, Kind, propose

PERSONAL = {
    Kind.PERSON_NAME: """
        first_name LastName SURNAME vorname Nachname NACHN VORNA nome_completo primeiroNome
        apellidos driver_name nomeDoMotorista supplier_contact_name contactPerson
        line_supervisor_name operator
    """,
    Kind.EMAIL: """
        email e_mail EMailAdresse workerEmail SMTP_ADDR correo_electronico emails usr_email_id
    """,
    Kind.PHONE: """
        phone phoneNumber TELNR TELF1 mobile_no kundenTelefonNr telemovel kundentelefonnummer
    """,
    Kind.POSTAL_ADDRESS: """
        street STRAS Straße homeAddress address customer_address direccion morada calle
        address_line_1 deliveryAddress
    """,
    Kind.BIRTH_DATE: """
        GBDAT birthDate date_of_birth dob Geburtsdatum dataNascimento fecha_nacimiento
    """,
    Kind.NATIONAL_ID: """
        STCD1 ssn nif taxId dni codice_fiscale Steuer-ID national_insurance_number
    """,
    Kind.IBAN: "iban IBAN supplier_iban payeeIBAN",
    Kind.BANK_ACCOUNT: "bank_account BANKN kontonummer",
    Kind.PAYMENT_CARD: "credit_card_number cardNumber kreditkartenNummer",
    Kind.EMPLOYEE_NUMBER: """
        PERNR personnel_number workerId employee_no Personalnummer operator_id id_empleado badge_no
        inspectorID numero_mecanografico
    """,
    Kind.USER_ACCOUNT: "username ERNAM created_by login_name AENAM",
    Kind.IP_ADDRESS: "ip ip_address clientIp",
    Kind.MAC_ADDRESS: "mac_address macAddr",
    Kind.LICENCE_PLATE: "licence_plate kfzKennzeichen truck_plate placa_veiculo",
    Kind.VIN: "vin VIN chassis_number Fahrgestellnummer vehicleIdentificationNumber",
    Kind.FREE_TEXT: "comment remarks Bemerkung observacoes note operator_notes",
}
OTHERS = """
    plant_name product_name machine_name file_name hostName column_name supplier_name displayName
    machine_email_sent_count email_sent_at email_verified phone_type is_email_valid address_id
    email_template mail_server CreditCardID cardType iban_checked name_length
    serial_number machine_serial order_no aufnr AUFNR MATNR batch_number steel_plate_thickness
    plate_no plate_temperature plant_address memory_address register_address opc_node_address
    machine_ip plc_ip_address robot_mac_address ip_rating server_port
    production_date created_at timestamp last_modified start_time birth_rate
    driver_version odbc_driver contact_resistance contact_force cell_voltage phone_model
    torque_nm torque_min weld_current temperature pressure_bar vibration_rms x y z lat latitude
    delivery_note_number release_notes status type kind color weight rowguid id uuid
    cost_center gl_account account_group country currency city_count emission_rate
    LIFNR NAME1 WERKS MAKTX MEINS GAMNG DISPO FEVOR tool_wear shift line hall station
    V_in v_in i_p s_in mobile_robot mobile_phase direccion_giro placa_circuito endereco_plc
    location position name_template manual mango person_count user_count employees_total
"""


def proposed(name, type_text="string", description=""):
    return propose([Column(name, type_text, description)])


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in PERSONAL.items() for name in names.split()]
)
def test_a_name_of_personal_data_is_proposed_with_its_kind(kind, name):
    type_text = "date32[day]" if kind is Kind.BIRTH_DATE else "string"
    (found,) = proposed(name, type_text)
    assert found.kind is kind
    assert 0.5 <= found.confidence < 1
    assert kind.noun in found.evidence


@pytest.mark.parametrize("name", OTHERS.split())
def test_a_name_of_anything_else_is_not_proposed(name):
    assert proposed(name) == []


@pytest.mark.parametrize(
    ("name", "type_text"),
    [
        ("email", "int64"),
        ("email", "bool"),
        ("phone", "timestamp[us]"),
        ("first_name", "double"),
        ("comment", "int32"),
        ("birth_date", "bool"),
        ("iban", "date32[day]"),
        ("sin", "double"),
        ("tin_content", "double"),
        ("vin", "double"),
    ],
)
def test_a_type_that_cannot_hold_it_is_no_personal_data(name, type_text):
    assert proposed(name, type_text) == []


@pytest.mark.parametrize("type_text", ["int64", "double", "string", "date32[day]", "timestamp[us]"])
def test_a_birth_date_may_be_stored_in_many_ways(type_text):
    (found,) = proposed("GBDAT", type_text)
    assert found.kind is Kind.BIRTH_DATE


def test_a_type_that_is_not_known_may_be_text():
    (found,) = proposed("email", "varchar(255)")
    assert found.kind is Kind.EMAIL


def test_a_description_speaks_where_the_name_says_nothing():
    (found,) = proposed("f17", description="E-mail address of the worker")
    assert (found.kind, found.evidence) == (Kind.EMAIL, "the description says e-mail address")
    assert proposed("f17", description="Number of e-mail messages sent") == []


@pytest.mark.parametrize(
    "others", [["birth_date"], ["NACHN", "VORNA"], ["salary"], ["gender"], ["nif"]]
)
def test_a_weak_name_counts_in_a_table_about_persons(others):
    found = propose([Column(name, "string") for name in ["name", "city", *others]])
    kinds = {one.column: one.kind for one in found}
    assert kinds["name"] is Kind.PERSON_NAME
    assert kinds["city"] is Kind.POSTAL_ADDRESS


def test_coordinates_count_where_a_person_is_beside_them():
    where = [Column("lat", "double"), Column("lon", "double")]
    assert propose([*where, Column("machine", "string")]) == []
    found = propose([*where, Column("driver_name", "string")])
    assert [one.kind for one in found] == [Kind.LOCATION, Kind.LOCATION, Kind.PERSON_NAME]
    (home,) = propose([Column("home_latitude", "double")])
    assert home.kind is Kind.LOCATION


def test_a_city_counts_beside_a_street():
    found = propose([Column("plz", "int32"), Column("ort", "string"), Column("strasse", "string")])
    assert {one.kind for one in found} == {Kind.POSTAL_ADDRESS}
    assert len(found) == 3
    assert propose([Column("city", "string"), Column("country", "string")]) == []


def test_every_kind_has_a_noun_and_a_plural():
    assert {kind.noun for kind in Kind} >= {"person name", "e-mail address", "IBAN"}
    assert Kind.EMAIL.plural == "e-mail addresses"
    assert Kind.LOCATION.plural == "coordinates of a person"
