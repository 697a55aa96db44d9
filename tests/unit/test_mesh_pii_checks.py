"""Check digits, on numbers published as examples and on the same with one place changed."""

import pytest

from atoll.mesh.pii import checks

RIGHT = {
    checks.is_iban: [
        "DE89370400440532013000",
        "GB29NWBK60161331926819",
        "PT50000201231234567890154",
        "ES9121000418450200051332",
        "NO9386011117947",
        "MT84MALT011000012345MTLCAST001S",
    ],
    checks.is_payment_card: [
        "4111111111111111",
        "378282246310005",
        "5555555555554444",
        "2223003122003222",
        "30569309025904",
        "6011111111111117",
        "3530111333300000",
    ],
    checks.is_vin: ["1M8GDM9AXKP042788", "WVWZZZ1KZAW000001", "VF1BB0A0F12345678"],
    checks.is_german_tax_id: ["86095742719", "47036892816", "65929970489"],
    checks.is_nif: ["123456789", "234567899", "451234561"],
    checks.is_dni: ["12345678Z", "X1234567L", "Y0000001S"],
    checks.is_codice_fiscale: ["RSSMRA85T10A562S", "VRDGPP13R10B293P"],
    checks.is_nir: ["255081416802538", "180032A00400103"],
    checks.is_pesel: ["44051401458", "02070803628"],
    checks.is_cpf: ["11144477735", "52998224725"],
    checks.is_ip_address: ["192.168.1.5", "10.0.0.1", "8.8.4.44", "2001:db8::1", "::1"],
}


@pytest.mark.parametrize(
    ("check", "text"), [(check, text) for check, texts in RIGHT.items() for text in texts]
)
def test_a_published_number_passes(check, text):
    assert check(text)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (check, text)
        for check, texts in RIGHT.items()
        for text in texts
        if check not in (checks.is_ip_address, checks.is_vin)
    ],
)
def test_a_number_with_its_last_place_changed_fails(check, text):
    last = text[-1]
    others = "0123456789" if last.isdigit() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert not any(check(text[:-1] + other) for other in others if other != last)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (checks.is_iban, "XX89370400440532013000"),
        (checks.is_iban, "DE8937040044053201300"),
        (checks.is_payment_card, "9111111111111111"),
        (checks.is_payment_card, "1760000000008"),
        (checks.is_vin, "1M8GDM9A0KP042788"),
        (checks.is_vin, "WVWZZZ1KZAW00000A"),
        (checks.is_vin, "11111111111111111"),
        (checks.is_german_tax_id, "12345678903"),
        (checks.is_german_tax_id, "06095742719"),
        (checks.is_nif, "501964843"),
        (checks.is_pesel, "44133401451"),
        (checks.is_cpf, "11111111111"),
        (checks.is_ip_address, "4.12.2.0"),
        (checks.is_ip_address, "300.1.1.1"),
        (checks.is_ip_address, "1.2.3"),
    ],
)
def test_a_number_that_only_looks_like_it_fails(check, text):
    assert not check(text)
