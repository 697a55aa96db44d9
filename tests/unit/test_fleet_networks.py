"""Which home has which network of this host: claims that anybody may try to spoil."""

import os
import stat
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from atoll.core.errors import Conflict, Forbidden, InvalidInput, Unavailable
from atoll.fleet.providers.local import claims, netns, opening
from atoll.fleet.providers.local.claims import claim_network, release_network
from atoll.fleet.providers.local.inventory import Inventory


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "FOLDER", tmp_path / "networks")
    return tmp_path / "networks"


@pytest.fixture
def homes(tmp_path):
    made = [tmp_path / name for name in ("one", "two")]
    for home in made:
        home.mkdir()
    return made


def test_a_home_gets_the_same_network_again_and_another_home_another(homes):
    one, two = (claim_network(home, 10) for home in homes)
    assert one != two
    assert claim_network(homes[0], 10) == one
    assert release_network(homes[0]) == [one]


def test_a_home_that_met_another_keeps_its_network_when_the_other_goes(homes, monkeypatch):
    monkeypatch.setattr(claims, "home_key", lambda home: "00")
    first, second = (claim_network(home, 127) for home in homes)
    release_network(homes[0])
    assert first != second
    assert claim_network(homes[1], 127) == second


def test_a_kept_network_is_claimed_again_after_its_claim_was_swept_away(homes, folder):
    network = claim_network(homes[0], 10)
    (folder / network).unlink()
    assert claim_network(homes[0], 10, kept=network, foreign=[IPv4Network("10.0.0.0/8")]) == network
    assert (folder / network).read_text() == str(homes[0])


def test_a_kept_network_that_another_home_has_is_refused_by_name(homes, folder):
    network = claim_network(homes[0], 10)
    (folder / network).write_text(str(homes[1]))
    with pytest.raises(Conflict, match=str(homes[1])):
        claim_network(homes[0], 10, kept=network)


@pytest.mark.parametrize("used", ["10.16.0.0/12", "10.64.0.0/10", "10.200.7.0/24", "10.99.1.1/32"])
def test_a_new_home_stays_away_from_what_the_host_uses(homes, used, monkeypatch):
    foreign = IPv4Network(used)
    for key in range(0, claims._COUNT, 16):
        monkeypatch.setattr(claims, "home_key", lambda home, key=key: f"{key:x}")
        network = claim_network(homes[0], 10, foreign=[foreign])
        assert not IPv4Network(f"{network}.0.0/16").overlaps(foreign)
        release_network(homes[0])


def test_a_host_that_uses_all_is_told_so(homes):
    with pytest.raises(Unavailable, match=r"this host uses 10\.0\.0\.0/8; take --provider loopb"):
        claim_network(homes[0], 10, foreign=[IPv4Network("10.0.0.0/8")])


def test_addresses_and_routes_of_the_host_are_read_with_their_width(monkeypatch):
    said = {
        "addr": "2: eth0 inet 10.1.2.3/20 brd 10.1.15.255 scope global eth0",
        "route": "default via 10.1.0.1 dev eth0\n10.64.0.0/10 dev wg0\n0.0.0.0/1 dev tun0\n"
        "unreachable 10.200.0.0/16",
    }
    monkeypatch.setattr(netns, "need", lambda *names: None)
    monkeypatch.setattr(netns, "call", lambda command: said[next(k for k in said if k in command)])
    found = netns.networks_of_host()
    wanted = ("10.1.0.0/20", "10.64.0.0/10", "10.200.0.0/16")
    assert {IPv4Network(one) for one in wanted} <= set(found)
    assert all(one.prefixlen >= 8 for one in found)


def test_a_home_below_a_private_folder_counts_as_there(homes, folder, monkeypatch):
    network = claim_network(homes[0], 10)
    (folder / network).write_text("/private/home")
    seen = Path.is_dir

    def is_dir(path):
        if str(path).startswith("/private"):
            raise PermissionError
        return seen(path)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    assert claim_network(homes[0], 10) != network
    release_network(homes[0])
    assert (folder / network).read_text() == "/private/home"


def test_a_claim_of_a_home_that_is_gone_is_taken_over(homes, folder):
    network = claim_network(homes[0], 10)
    (folder / network).write_text("/nowhere/home")
    assert claim_network(homes[0], 10) == network


@pytest.mark.parametrize(
    "make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/etc/passwd")]
)
def test_what_is_no_claim_is_left_alone(homes, folder, make):
    network = claim_network(homes[0], 10)
    (folder / network).unlink()
    make(folder / network)
    kind = stat.S_IFMT((folder / network).lstat().st_mode)
    assert claim_network(homes[0], 10) != network
    assert stat.S_IFMT((folder / network).lstat().st_mode) == kind


def test_a_link_in_place_of_the_folder_is_not_followed(homes, folder, tmp_path):
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    folder.symlink_to(target)
    with pytest.raises(InvalidInput):
        claim_network(homes[0], 10)
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert not list(target.iterdir())


def test_claims_are_for_all_to_read_whatever_the_umask(homes, folder):
    before = os.umask(0o077)
    try:
        network = claim_network(homes[0], 10)
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / network).stat().st_mode) == 0o644
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777


def test_a_folder_where_claims_can_be_taken_away_is_refused(homes, folder, monkeypatch):
    folder.mkdir(mode=0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(Forbidden, match="another user's or not open to all"):
        claim_network(homes[0], 10)


def test_somebody_who_holds_the_folder_is_not_waited_for_for_ever(homes, monkeypatch):
    monkeypatch.setattr(claims, "_LOCK_SECONDS", 0.0)
    with claims._held(), pytest.raises(Unavailable, match="held"):
        claim_network(homes[0], 10)


def test_a_home_goes_on_in_its_network_though_the_host_uses_it_now(homes, monkeypatch, folder):
    inventory = Inventory(homes[0] / "inventory")
    monkeypatch.setattr(opening, "networks_of_host", list)
    network = opening._network(homes[0], "netns", inventory)
    release_network(homes[0])
    monkeypatch.setattr(opening, "networks_of_host", lambda: [IPv4Network("10.0.0.0/8")])
    assert opening._network(homes[0], "netns", inventory) == network
    inventory.close()


def test_a_wire_that_the_kernel_removes_meanwhile_is_cut(monkeypatch):
    there = [True, False]
    monkeypatch.setattr(netns, "has_link", lambda _: there.pop(0))
    netns.cut_wire("atnowhere.0004")
    assert there == []


def test_a_wire_that_stays_is_told(monkeypatch):
    monkeypatch.setattr(netns, "has_link", lambda _: True)
    with pytest.raises(Unavailable, match="link del"):
        netns.cut_wire("atnowhere.0004")
