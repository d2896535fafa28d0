"""Users: what is kept of a password, who may do what, and that guessing takes time."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.users import LONGEST_PASSWORD, Cost, Lock, Role, UserError, Users, hashed, matches
from twin.clock import Ns, S

CHEAP = Cost(n=2)
GOOD = "correct horse"


@pytest.fixture
def users(tmp_path: Path) -> Users:
    """Users in a file that is not there yet."""
    return Users(tmp_path / "users.json")


def test_the_first_user_is_an_administrator_and_is_made_once(users: Users) -> None:
    password = users.first()
    assert password is not None and len(password) >= 20
    assert users.verify("operator", password) is Role.ADMINISTRATOR
    assert users.first() is None


def test_only_the_password_is_the_password(users: Users) -> None:
    users.add("otto", Role.OPERATOR, GOOD)
    assert users.verify("otto", GOOD) is Role.OPERATOR
    tried = ("", GOOD[:-1], GOOD + " ", GOOD.upper(), "x" * (LONGEST_PASSWORD + 1))
    assert [users.verify("otto", password) for password in tried] == [None] * 5
    assert users.verify("olga", GOOD) is None


def test_the_file_holds_no_password_and_is_ours_alone(users: Users, tmp_path: Path) -> None:
    users.add("otto", Role.OPERATOR, GOOD)
    users.add("olga", Role.OBSERVER, GOOD)
    file = tmp_path / "users.json"
    text = file.read_text()
    assert GOOD not in text
    entries = json.loads(text)["users"]
    assert entries["otto"]["scrypt"]["digest"] != entries["olga"]["scrypt"]["digest"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["users.json"]


def test_a_change_by_another_process_counts_at_once(users: Users, tmp_path: Path) -> None:
    users.add("otto", Role.OPERATOR, GOOD)
    assert users.role("otto") is Role.OPERATOR
    other = Users(tmp_path / "users.json")
    other.set_password("otto", "another horse")
    other.add("anna", Role.ADMINISTRATOR, GOOD)
    other.set_role("otto", Role.OBSERVER)
    assert users.role("otto") is Role.OBSERVER
    assert users.verify("otto", GOOD) is None
    assert users.verify("otto", "another horse") is Role.OBSERVER


def test_the_last_administrator_stays_one(users: Users) -> None:
    users.add("anna", Role.ADMINISTRATOR, GOOD)
    with pytest.raises(UserError, match="last administrator"):
        users.set_role("anna", Role.OPERATOR)


@pytest.mark.parametrize(
    ("name", "password", "told"),
    [
        ("otto", GOOD, "already"),
        ("", GOOD, "letters"),
        ("a b", GOOD, "letters"),
        ("x" * 65, GOOD, "letters"),
        ("new", "short", "8 to 128"),
        ("new", "x" * 129, "8 to 128"),
    ],
)
def test_what_cannot_be_a_user_is_refused_with_the_reason(users: Users, name: str, password: str, told: str) -> None:
    users.add("otto", Role.OPERATOR, GOOD)
    with pytest.raises(UserError, match=told):
        users.add(name, Role.OPERATOR, password)
    assert list(users.all) == ["otto"]


def test_a_user_who_is_not_there_is_named_with_those_who_are(users: Users) -> None:
    users.add("otto", Role.OPERATOR, GOOD)
    for change in (lambda: users.set_password("olga", GOOD), lambda: users.set_role("olga", Role.OBSERVER)):
        with pytest.raises(UserError, match="no user 'olga'; there are: otto"):
            change()
    with pytest.raises(UserError, match="no role 'king'; roles are observer, operator, engineer, administrator"):
        Role.of("king")


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ("{}", 0o644, "can be read by others"),
        ("{", 0o600, "cannot be used"),
        ('{"format": 1, "users": {"x": 1}}', 0o600, "cannot be used"),
        ('{"format": 2, "users": {}}', 0o600, "format 2"),
    ],
)
def test_a_file_that_cannot_be_used_is_not(tmp_path: Path, text: str, mode: int, told: str) -> None:
    file = tmp_path / "users.json"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(UserError, match=told):
        _ = Users(file).all
    assert Users(file).role("otto") is None and Users(file).verify("otto", GOOD) is None


def test_a_file_that_breaks_leaves_roles_as_they_were_and_lets_nobody_in_until_it_is_mended(
    users: Users, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "users.json"
    users.add("otto", Role.OPERATOR, GOOD)
    right = file.read_bytes()
    ways: list[tuple[Callable[[], object], Callable[[], object]]] = [
        (lambda: file.chmod(0o644), lambda: file.chmod(0o600)),
        (lambda: file.write_bytes(right[:50]), lambda: file.write_bytes(right)),
    ]
    assert users.role("otto") is Role.OPERATOR
    for breaks, mends in ways:
        caplog.clear()
        breaks()
        assert [users.role("otto") for _ in range(3)] == [Role.OPERATOR] * 3 and users.generation("otto")
        assert users.verify("otto", GOOD) is None and len(caplog.records) == 1
        mends()
        assert users.role("otto") is Role.OPERATOR and users.verify("otto", GOOD) is Role.OPERATOR


@given(st.text(), st.text())
def test_a_hash_matches_its_own_password_only(password: str, other: str) -> None:
    stored = hashed(password.encode(errors="replace").decode(), CHEAP)
    assert matches(password.encode(errors="replace").decode(), stored)
    if other.encode(errors="replace") != password.encode(errors="replace"):
        assert not matches(other.encode(errors="replace").decode(), stored)


# ---- guessing ----------------------------------------------------------------------------------------------------------

WHO = ("otto", "127.0.0.1")


def test_each_guess_after_the_third_costs_twice_the_time() -> None:
    lock, now, waits = Lock(), Ns(0), []
    for _ in range(14):
        assert not lock.locked(WHO, now)
        lock.failed(WHO, now)
        wait = 0
        while lock.locked(WHO, Ns(now + wait * S)):
            wait += 1
        waits.append(wait)
        now = Ns(now + wait * S)
    assert waits == [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_one_failure_is_forgotten_every_quarter_of_an_hour() -> None:
    lock, quarter = Lock(), 900 * S
    for _ in range(5):
        lock.failed(WHO, Ns(0))
    lock.failed(WHO, Ns(2 * quarter))
    assert lock._tries[WHO].failed == 4
    for day in range(1, 10):  # three a day are never too many
        for _ in range(3):
            lock.failed(WHO, Ns(96 * day * quarter))
        assert not lock.locked(WHO, Ns(96 * day * quarter))


def test_another_user_or_address_is_not_locked_out_and_a_success_forgives() -> None:
    lock = Lock()
    for _ in range(10):
        lock.failed(WHO, Ns(0))
    assert lock.locked(WHO, Ns(0))
    assert not lock.locked(("olga", WHO[1]), Ns(0)) and not lock.locked((WHO[0], "127.0.0.2"), Ns(0))
    lock.succeeded(WHO)
    assert not lock.locked(WHO, Ns(0))


def test_many_names_cannot_push_a_locked_one_out() -> None:
    lock = Lock()
    for _ in range(10):
        lock.failed(WHO, Ns(0))
    for number in range(Lock.MOST + 50):
        lock.failed((f"name-{number}", WHO[1]), Ns(0))
    assert lock.locked(WHO, Ns(0))
    assert len(lock) == Lock.MOST
