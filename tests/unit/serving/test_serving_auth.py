"""Bearer tokens: several at once, exchanged without a restart, and a closed door when there are none."""

from pathlib import Path

import pytest

from trimtab_serving.auth import RELOAD_SECONDS, Door, require_tokens
from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.protocol.errors import RequestError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A Secret as the kubelet mounts it."""
    real = tmp_path / "..2026"
    real.mkdir()
    (real / "one").write_text("first-token\n")
    (tmp_path / "..data").symlink_to(real)
    (tmp_path / "one").symlink_to("..data/one")
    return tmp_path


def status(door: Door, header: bytes | None) -> int:
    refusal = refusal_of(door, header)
    if refusal is None:
        return 200
    assert "first-token" not in refusal.message
    assert (refusal.status == 401) == bool(refusal.headers)
    return refusal.status


def refusal_of(door: Door, header: bytes | None) -> RequestError | None:
    try:
        door.admit(header)
    except RequestError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"Bearer first-token", 200),
        (b"bearer  first-token ", 200),
        (None, 401),
        (b"", 401),
        (b"Basic first-token", 401),
        (b"Bearer", 401),
        (b"Bearer ", 403),
        (b"Bearer first-toke", 403),
        (b"Bearer first-token2", 403),
        (b"Bearer \xff\xfe", 403),
    ],
)
def test_who_may_come_in(secret: Path, header: bytes | None, expected: int) -> None:
    assert status(Door(secret), header) == expected


def test_without_a_directory_everybody_may() -> None:
    assert status(Door(None), None) == 200


def test_tokens_are_exchanged_while_it_runs(secret: Path) -> None:
    clock = Clock()
    door = Door(secret, clock)
    assert status(door, b"Bearer first-token") == 200
    newer = secret / "..2027"
    newer.mkdir()
    (newer / "one").write_text("second-token")
    (secret / "..data").unlink()
    (secret / "..data").symlink_to(newer)
    clock.now += RELOAD_SECONDS / 2
    assert status(door, b"Bearer second-token") == 403
    clock.now += RELOAD_SECONDS
    assert status(door, b"Bearer second-token") == 200
    assert status(door, b"Bearer first-token") == 403


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_no_token_lets_nobody_in(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "empty").write_text(content)
    for directory in (tmp_path, tmp_path / "gone"):
        for header in (b"Bearer ", b"Bearer x"):
            assert status(Door(directory), header) == 403


def test_a_server_that_would_let_nobody_in_does_not_start(tmp_path: Path) -> None:
    require_tokens(None)
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(Failure, match="holds no token: create the Secret") as refused:
            require_tokens(directory)
        assert refused.value.reason is Reason.SETTINGS_INVALID
    (tmp_path / "one").write_text("a token\n")
    require_tokens(tmp_path)
