"""Single sign-on over HTTP, as a browser goes the way to a provider and back (features 6 to 8)."""

import time

import httpx2
import pytest
from joserfc.jwk import ECKey
from mesh_doors import PLACE, PORTAL, browser_at, error, opened, used_up
from oidc_providers import hostile_provider, real_provider, unsigned

from atoll.core.errors import Forbidden, InvalidInput
from atoll.mesh.hosting import FIRST_NAME, Mesh
from atoll.mesh.http.signing import COOKIE, SSO_COOKIE
from atoll.mesh.identity.configured import read_providers
from atoll.mesh.identity.throttle import BEGINNING
from atoll.mesh.model.people import PendingSignIn, UserProfile
from atoll.mesh.service.sso import SingleSignOn
from atoll.mesh.store.events import events

QUALITY = ["plant-quality"]
PEOPLE = [
    {"sub": "anna", "name": "Anna", "email": "anna@plant.example", "groups": QUALITY},
    {"sub": "ben", "name": FIRST_NAME, "email": "ben@plant.example", "groups": ["canteen"]},
    {"sub": "cleo", "name": "Cleo", "email": "cleo@plant.example", "groups": []},
    {"sub": "dan", "name": "Dan\u202e\n ", "email": "no address", "groups": QUALITY},
]
PROVIDERS = """
[plant]
title = "Plant account"
issuer = "{plant}"
client_id = "atoll"
client_secret = "a secret"
[plant.groups]
plant-quality = "quality"
[other]
issuer = "{other}"
client_id = "atoll"
assign = true
[other.groups]
plant-quality = "quality"
plant-none = "a group that is not there"
"""


@pytest.fixture(scope="module")
def issuer():
    with real_provider(*PEOPLE) as found:
        yield found


@pytest.fixture(scope="module")
def hostile():
    with hostile_provider() as found:
        yield found


@pytest.fixture
def lying(hostile):
    """The other provider, which lies as a test tells it to, by today's clock."""
    now = int(time.time())
    told = {"name": "U", "email": "u@plant.example", "groups": []}
    hostile.claims = {"iat": now, "exp": now + 60, **told}
    yield hostile
    hostile.claims, hostile.callback, hostile.sign = {}, {}, None


@pytest.fixture(scope="module")
def file(issuer, hostile, tmp_path_factory):
    path = tmp_path_factory.mktemp("providers") / "providers.toml"
    path.write_text(PROVIDERS.format(plant=issuer, other=hostile.issuer))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def mesh(file, tmp_path_factory):
    made = opened(tmp_path_factory.mktemp("home"), providers=file)
    yield made
    made.close()


@pytest.fixture(scope="module")
def administrator(mesh):
    with browser_at(mesh.application) as made:
        asked = {"name": FIRST_NAME, "password": mesh.first.read_text().splitlines()[1]}
        told = made.post("/v1/sign-in", json=asked).json()
        made.headers["X-CSRF-Token"] = told["csrf"]
        yield made


@pytest.fixture(scope="module")
def quality(administrator):
    return administrator.post("/v1/group-profiles", json={"name": "quality"}).json()["id"]


@pytest.fixture
def browser(mesh, quality):
    with browser_at(mesh.application) as made:
        yield made


def sent(browser, provider="plant", **query):
    """Begin a sign-in; gives where the browser is sent."""
    answer = browser.get(f"/v1/sso/{provider}", params=query)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def chosen(url, **form):
    """Go to the provider and say who one is there; gives the path that it sends one back to."""
    with httpx2.Client(verify=False) as client:
        answer = client.post(url, data=form) if form else client.get(url)
    assert answer.headers["location"].startswith(PORTAL)
    return answer.headers["location"].removeprefix(PORTAL)


def signed_in(browser, sub="anna", **query):
    return browser.get(chosen(sent(browser, **query), sub=sub))


def signed_in_at_other(browser):
    return browser.get(chosen(sent(browser, "other")))


def me(browser):
    return browser.get("/v1/me").json()["profile"]


def profile(mesh, **keys):
    with mesh.store.reading() as reader:
        return reader.one(UserProfile, **keys)


def assign(administrator, id_, status):
    answer = administrator.patch(f"/v1/user-profiles/{id_}", json={"status": status})
    assert answer.status_code == 200, answer.text


def refused(answer):
    """A refusal that tells nothing of why, and opens nothing."""
    assert "set-cookie" not in answer.headers
    assert error(answer, 401)["message"].startswith("you could not be signed in; begin again")


def test_6_somebody_signs_in_at_the_provider_and_comes_back_where_they_were(browser, quality):
    assert browser.get("/v1/sso").json()["items"][0] == {"name": "plant", "title": "Plant account"}
    answer = signed_in(browser, return_to="/projects?page=2")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PORTAL}/projects?page=2")
    found = me(browser)
    assert (found["name"], found["type"], found["subject"]) == ("Anna", "SSO", "anna")
    assert (found["email"], found["groups"]) == ("anna@plant.example", [quality])


def test_7_cookies_are_for_tls_and_for_no_script_and_no_other_site(browser):
    begun = browser.get("/v1/sso/plant")
    finished = browser.get(chosen(begun.headers["location"], sub="anna"))
    cookies = [*begun.headers.get_list("set-cookie"), *finished.headers.get_list("set-cookie")]
    assert [one.partition("=")[0] for one in cookies] == [SSO_COOKIE, SSO_COOKIE, COOKIE]
    for one in cookies:
        assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/"} <= set(one.split("; "))
        assert "Domain" not in one
    assert "Max-Age=600" in cookies[0]
    assert "Max-Age=0" in cookies[1]


def test_7_a_session_changes_things_with_its_own_csrf_token_alone(browser):
    signed_in(browser)
    path = f"/v1/user-profiles/{me(browser)['id']}/end-sessions"
    error(browser.post(path), 403)
    headers = {"X-CSRF-Token": browser.get("/v1/session").json()["csrf"]}
    assert browser.post(path, headers=headers).status_code == 200
    error(browser.get("/v1/session"), 401)


def test_7_who_signs_in_again_is_the_same_and_nobody_is_by_name_or_address(mesh, browser):
    signed_in(browser)
    first = me(browser)
    signed_in(browser)
    assert me(browser) == first
    error(signed_in(browser, "ben"), 403)
    local, ben = profile(mesh, name=FIRST_NAME), profile(mesh, subject="ben")
    assert (local.type, ben.type) == ("LOCAL", "SSO")
    assert (ben.name, ben.email) == (f"{FIRST_NAME} (2)", "ben@plant.example")


def test_7_what_a_provider_tells_is_made_fit_to_be_shown(browser):
    signed_in(browser, "dan")
    assert (me(browser)["name"], me(browser)["email"]) == ("Dan", "")


def test_8_who_is_in_no_mapped_group_is_let_in_by_an_administrator_alone(
    mesh, browser, administrator
):
    told = error(signed_in(browser, "cleo"), 403)
    assert told["message"].endswith("not assigned to this domain; ask an administrator")
    error(browser.get("/v1/me"), 401)
    cleo = profile(mesh, subject="cleo").id
    assign(administrator, cleo, "ASSIGNED")
    assert signed_in(browser, "cleo").status_code == 303
    assign(administrator, cleo, "NOT_ASSIGNED")
    error(browser.get("/v1/me"), 401)
    error(signed_in(browser, "cleo"), 403)


def test_8_an_administrators_word_outweighs_the_providers(browser, administrator, lying):
    lying.claims["sub"] = "u-unassigned"
    signed_in_at_other(browser)
    id_ = me(browser)["id"]
    assign(administrator, id_, "NOT_ASSIGNED")
    error(browser.get("/v1/me"), 401)
    error(signed_in_at_other(browser), 403)
    assign(administrator, id_, "ASSIGNED")
    assert signed_in_at_other(browser).status_code == 303


def test_7_each_sign_in_replaces_mapped_groups_and_leaves_those_given_by_hand(
    browser, administrator, quality, lying
):
    lying.claims["sub"] = "u-groups"
    by_hand = administrator.post("/v1/group-profiles", json={"name": "by hand"}).json()["id"]
    signed_in_at_other(browser)
    path = f"/v1/user-profiles/{me(browser)['id']}"
    administrator.patch(path, json={"groups": [by_hand]})
    for told, found in ((QUALITY, {by_hand, quality}), (["plant-none"], {by_hand})):
        lying.claims["groups"] = told
        signed_in_at_other(browser)
        assert set(me(browser)["groups"]) == found
    administrator.patch(path, json={"groups": [by_hand, quality]})
    for told in (QUALITY, []):
        lying.claims["groups"] = told
        signed_in_at_other(browser)
        assert set(me(browser)["groups"]) == {by_hand, quality}


def test_8_who_leaves_the_mapped_group_is_out_at_the_next_sign_in(mesh, browser, file, lying):
    lying.claims |= {"sub": "u-leaver", "groups": QUALITY}
    door = mesh._sso._doors["other"]
    object.__setattr__(door.configured, "assign", False)
    signed_in_at_other(browser)
    with browser_at(mesh.application) as second:
        lying.claims["groups"] = []
        error(signed_in_at_other(second), 403)
    object.__setattr__(door.configured, "assign", True)
    error(browser.get("/v1/me"), 401)


def test_8_an_unassigned_group_lets_nobody_in_and_ends_the_sessions_of_its_members(
    mesh, browser, administrator, quality
):
    signed_in(browser)
    path = f"/v1/group-profiles/{quality}"
    administrator.patch(path, json={"status": "NOT_ASSIGNED"})
    error(browser.get("/v1/me"), 401)
    error(signed_in(browser), 403)
    administrator.patch(path, json={"status": "ASSIGNED"})
    assert signed_in(browser).status_code == 303


def test_7_a_callback_works_once(mesh, browser):
    path = chosen(sent(browser), sub="anna")
    cookie = browser.cookies[SSO_COOKIE]
    assert browser.get(path).status_code == 303
    browser.cookies.set(SSO_COOKIE, cookie)
    refused(browser.get(path))


def test_7_a_callback_of_another_browser_signs_nobody_in(mesh, browser):
    with browser_at(mesh.application) as attacker:
        path = chosen(sent(attacker), sub="anna")
        refused(browser.get(path))
        refused(attacker.get(path))
        second = chosen(sent(attacker), sub="anna")
        sent(browser)
        refused(browser.get(second))


def test_7_a_code_of_one_provider_is_none_of_the_other(browser, lying):
    path = chosen(sent(browser), sub="anna")
    refused(browser.get(path.replace("/plant/", "/other/")))
    path = chosen(sent(browser, "other"))
    refused(browser.get(path.replace("/other/", "/plant/")))


@pytest.mark.parametrize(
    "query",
    [
        "",
        "state=x&code=y",
        "code=y",
        "state=%00&code=y",
        "state=" + "s" * 43,
        "error=access_denied",
        "state=a&state=b&code=y",
        "state=" + "x" * 9000,
        "state=%F0%9F%99%82",
    ],
)
def test_7_what_is_no_callback_of_ours_is_refused_and_written_nowhere(mesh, browser, query):
    before = told_by_audit(mesh)
    refused(browser.get(f"/v1/sso/plant/callback?{query}"))
    assert told_by_audit(mesh) == before


@pytest.mark.parametrize(
    ("claims", "callback"),
    [
        ({"nonce": "another"}, {}),
        ({"aud": "another"}, {}),
        ({"iss": "https://another.example"}, {}),
        ({"exp": 1}, {}),
        ({"sub": ""}, {}),
        ({}, {"code": "another"}),
        ({}, {"error": "<script>", "code": None}),
        ({}, {"iss": "https://another.example"}),
        ({}, {"state": "another"}),
    ],
)
def test_7_a_provider_that_lies_signs_nobody_in(browser, lying, claims, callback):
    lying.claims |= claims
    lying.callback = callback
    refused(signed_in_at_other(browser))


def test_7_an_id_token_that_anybody_could_sign_signs_nobody_in(browser, lying):
    lying.sign = lambda header, claims: unsigned({**header, "alg": "none"}, claims)
    refused(signed_in_at_other(browser))
    stranger = ECKey.generate_key("P-256", {"kid": "one"})
    own, lying.key, lying.shown, lying.sign = lying.key, stranger, [lying.key], None
    refused(signed_in_at_other(browser))
    lying.key, lying.shown = own, []


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/a//b",
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r\nSet-Cookie: a=b",
        "/ü",
        "/" + "a" * 3000,
    ],
)
def test_7_nobody_is_sent_to_another_site(mesh, browser, path):
    told = error(browser.get("/v1/sso/plant", params={"return_to": path}), 400)
    assert "path of the portal" in told["message"]


def test_7_the_host_that_a_request_names_does_not_matter(browser):
    answer = browser.get("/v1/sso/plant", headers={"Host": "evil.example"})
    assert (
        "redirect_uri=https%3A%2F%2Fmesh%2Fv1%2Fsso%2Fplant%2Fcallback"
        in (answer.headers["location"])
    )


def test_7_a_session_that_was_there_before_ends_and_one_that_was_planted_is_none(mesh, browser):
    browser.cookies.set(COOKIE, "planted", domain="mesh.local")
    signed_in(browser)
    first = browser.cookies[COOKIE]
    assert first != "planted"
    signed_in(browser)
    assert browser.cookies[COOKIE] != first
    with browser_at(mesh.application) as thief:
        thief.cookies.set(COOKIE, first)
        error(thief.get("/v1/me"), 401)


def test_7_a_provider_that_is_down_is_told_without_saying_what_it_said(
    file, tmp_path, caplog, hostile
):
    path = tmp_path / "providers.toml"
    path.write_text(file.read_text().replace(hostile.issuer, "http://127.0.0.1:1"))
    path.chmod(0o600)
    made = opened(tmp_path / "home", providers=path)
    try:
        with browser_at(made.application) as browser:
            told = error(browser.get("/v1/sso/other"), 503)
            assert "127.0.0.1" not in told["message"]
            assert "127.0.0.1:1 cannot be reached" in caplog.text
            assert browser.get("/v1/sso/plant").status_code == 303
    finally:
        made.close()


def test_7_sign_ins_that_are_begun_and_not_finished_are_slowed_down(mesh, browser):
    throttle, place = mesh._sso._throttle, (BEGINNING, PLACE)
    used_up(throttle, place)
    answer = browser.get("/v1/sso/plant")
    assert error(answer, 429)["details"]["retry_after_s"] == int(answer.headers["Retry-After"])
    throttle.forget(place)
    assert browser.get("/v1/sso/plant").status_code == 303


def test_7_what_was_begun_is_kept_until_it_is_finished(mesh, browser):
    path = chosen(sent(browser), sub="anna")
    state = dict(one.split("=") for one in path.partition("?")[2].split("&"))["state"]
    with mesh.store.reading() as reader:
        assert reader.find(PendingSignIn, state).provider == "plant"
    browser.get(path)
    with mesh.store.reading() as reader:
        assert reader.find(PendingSignIn, state) is None


def test_7_providers_that_are_not_there_are_not_found(browser):
    error(browser.get("/v1/sso/none"), 404)
    error(browser.get("/v1/sso/none/callback"), 404)


def test_48_the_audit_says_who_came_in_by_what_and_who_was_turned_away(mesh, browser, lying):
    lying.claims["sub"] = "u-audit"
    signed_in_at_other(browser)
    id_ = me(browser)["id"]
    made, came = told_by_audit(mesh)[-2:]
    assert (made[:3], came[:3]) == (
        ("CreateUserProfile", "ALLOWED", id_),
        ("SignIn", "ALLOWED", id_),
    )
    lying.claims["nonce"] = "another"
    signed_in_at_other(browser)
    assert told_by_audit(mesh)[-1] == ("SignIn", "DENIED", "nobody", "sso:other")


def told_by_audit(mesh):
    with mesh.store.engine.connect() as connection:
        return [(e.operation, e.outcome, e.principal, e.via) for e in events(connection)]


@pytest.mark.parametrize("url", ["", "http://mesh.example", "https://mesh example"])
def test_7_a_portal_that_no_provider_may_send_browsers_to_is_refused(file, url):
    with pytest.raises(InvalidInput, match="portal"):
        SingleSignOn(None, None, read_providers(file), url)


def test_7_a_file_of_providers_that_others_may_open_is_refused(file, tmp_path):
    path = tmp_path / "providers.toml"
    path.write_text(file.read_text())
    path.chmod(0o644)
    with pytest.raises(Forbidden, match="chmod 600"):
        Mesh(tmp_path / "home", portal_url=PORTAL, providers=path)
