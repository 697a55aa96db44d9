"""Made-up people: names, addresses, phones. The lists are written by hand, of what is common."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from atoll.mesh.plant.draws import Draws, Ints
from atoll.mesh.plant.keys import dnis, german_tax_ids, ibans, nifs
from atoll.mesh.plant.texts import chosen, joined, padded

COUNTRIES = ("PT", "DE", "ES")
_COUNTRY_SHARES = (82, 10, 8)
_WOMEN = {
    "PT": "Ana Beatriz Carla Catarina Célia Fátima Filipa Graça Inês Joana Lurdes Margarida "
    "Marta Mafalda Olívia Patrícia Rita Sílvia Sónia Susana Teresa Vânia Zulmira",
    "DE": "Anke Birgit Claudia Dörte Elke Frauke Gesa Heike Ines Katrin Mareike Petra Silke Svenja "
    "Ulrike Wiebke",
    "ES": "Carmen Dolores Elena Inmaculada Isabel Lucía Macarena Nuria Pilar Rocío Soledad Yolanda",
}
_MEN = {
    "PT": "António Armindo Carlos Duarte Fernando Filipe Gonçalo Hélder Hugo João Joaquim Jorge "
    "José Luís Manuel Miguel Nuno Paulo Pedro Ricardo Rui Sérgio Tiago Vasco",
    "DE": "Andreas Bernd Detlef Eike Frank Gerd Hauke Jens Jürgen Kai Lutz Matthias Olaf Ralf "
    "Torsten Uwe",
    "ES": "Alejandro Álvaro Antonio Borja Eduardo Francisco Ignacio Javier José Pablo Sergio",
}
_FAMILIES = {
    "PT": "Abreu Almeida Baptista Brito Cardoso Carvalho Coelho Correia Costa Dias Esteves Faria "
    "Ferreira Fonseca Gonçalves Guerreiro Lopes Magalhães Marques Matias Mendonça Moreira Nogueira "
    "Oliveira Pacheco Palma Pereira Pinheiro Quintas Ramalho Ribeiro Rodrigues Rosado Salgueiro "
    "Santos Silva Simões Tavares Valente Ventura",
    "DE": "Ahrens Bartels Brandt Cordes Dierks Ehlers Grote Harms Heuer Kruse Lüders Meinecke "
    "Müller Niemann Otte Pape Rohde Schmidt Thiele Wolters",
    "ES": "Aguilar Bermejo Cabrera Díaz Escudero Fuentes García Herrero Iglesias Lozano Márquez "
    "Navarro Pascual Rueda Sánchez Vidal",
}
_STREETS = (
    "Rua da Fábrica", "Rua 25 de Abril", "Avenida da Liberdade", "Travessa do Poço", "Rua do Sol",
    "Largo da Igreja", "Praceta dos Pinheiros", "Estrada Nacional", "Rua das Oliveiras",
    "Avenida Luísa Todi", "Rua Serpa Pinto", "Rua Dr. Egas Moniz",
)  # fmt: skip
_PLACES = (
    ("2950", "Palmela"), ("2955", "Pinhal Novo"), ("2900", "Setúbal"), ("2910", "Setúbal"),
    ("2830", "Barreiro"), ("2860", "Moita"), ("2870", "Montijo"), ("2845", "Amora"),
    ("2800", "Almada"), ("2970", "Sesimbra"),
)  # fmt: skip


class People:
    """Persons by number, as one table draws them."""

    def __init__(self, draws: Draws, numbers: Ints) -> None:
        """Draw where they are from and which sex they have."""
        self._draws, self._numbers = draws, numbers
        self.country = draws.pick("country", numbers, _COUNTRY_SHARES)
        self.is_woman = draws.uniform("sex", numbers) < 0.22

    def countries(self) -> pa.Array:
        """Return their nationalities, two letters."""
        return chosen(self.country, COUNTRIES)

    def given_names(self) -> pa.Array:
        """Return their first names."""
        women = self._by_country(lambda code: self._one_of(_WOMEN[code], "given"))
        men = self._by_country(lambda code: self._one_of(_MEN[code], "given"))
        return pc.if_else(pa.array(self.is_woman), women, men)

    def family_names(self) -> pa.Array:
        """Return their last names."""
        return self._by_country(lambda code: self._one_of(_FAMILIES[code], "family"))

    def full_names(self) -> pa.Array:
        """Return first and last names."""
        return joined(self.given_names(), self.family_names(), between=" ")

    def birth_days(self) -> Ints:
        """Return their dates of birth, in days since 1970: 1961 to 2007."""
        return self._draws.integers("birth", self._numbers, -3287, 13_700)

    def national_ids(self) -> pa.Array:
        """Return NIF, Steuer-ID or DNI, each with right check digits."""
        eight = self._draws.integers("national id", self._numbers, 20_000_000, 29_999_999)
        made = {
            "PT": nifs(eight),
            "DE": german_tax_ids(self._draws, self._numbers),
            "ES": dnis(eight),
        }
        return self._by_country(made.__getitem__)

    def ibans(self) -> pa.Array:
        """Return accounts of banks that do not exist."""
        accounts = self._draws.integers("account", self._numbers, 0, 10**10)
        return self._by_country(lambda code: ibans(code, accounts))

    def phones(self) -> pa.Array:
        """Return mobile numbers as people write them, with and without the country."""
        head = self._draws.integers("phone/head", self._numbers, 910, 970)
        tail = self._draws.integers("phone/tail", self._numbers, 0, 1000)
        parts = padded(head, 3), padded(self._draws.integers("phone", self._numbers, 0, 1000), 3)
        national = joined(*parts, padded(tail, 3), between=" ")
        is_abroad = self._draws.uniform("phone/style", self._numbers) < 0.7
        whole = joined(pa.scalar("+351"), national, between=" ")
        return pc.if_else(pa.array(is_abroad), whole, national)

    def streets(self) -> pa.Array:
        """Return streets with numbers."""
        street = chosen(self._draws.integers("street", self._numbers, 0, len(_STREETS)), _STREETS)
        number = pa.array(self._draws.integers("house", self._numbers, 1, 180)).cast(pa.string())
        return joined(street, number, between=" ")

    def postcodes(self) -> pa.Array:
        """Return postal codes of their places."""
        head = chosen(self._place(), [code for code, _ in _PLACES])
        return joined(
            head, padded(self._draws.integers("postcode", self._numbers, 1, 600), 3), between="-"
        )

    def places(self) -> pa.Array:
        """Return the places they live in."""
        return chosen(self._place(), [place for _, place in _PLACES])

    def mails(self, ending: str) -> pa.Array:
        """Return e-mail addresses that belong to nobody; the number keeps them apart."""
        names = pc.utf8_lower(joined(self.given_names(), self.family_names(), between="."))
        plain = pc.replace_substring_regex(pc.utf8_normalize(names, "NFD"), r"\pM", "")
        return joined(plain, pa.array(self._numbers).cast(pa.string()), pa.scalar(f"@{ending}"))

    def _place(self) -> Ints:
        return self._draws.integers("place", self._numbers, 0, len(_PLACES))

    def _one_of(self, names: str, what: str) -> pa.Array:
        of = names.split()
        return chosen(self._draws.integers(what, self._numbers, 0, len(of)), of)

    def _by_country(self, make: Callable[[str], pa.Array]) -> pa.Array:
        return pc.choose(pa.array(self.country), *map(make, COUNTRIES))
