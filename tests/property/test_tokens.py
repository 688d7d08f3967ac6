"""Prediction tokens: they say what was put in, and nobody else can make or change one."""

import math
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimtab_serving.outcomes.token import CLOCK_SKEW_SECONDS, Signer, TokenRefused

KEY = b"0123456789abcdef"
REVISION = "00ff00ff0123"
NOW = 1_800_000_000.5
DAY = 86400
ALPHABET = string.ascii_letters + string.digits + "-_+/=. \né"
SCORES = st.floats(width=32) | st.sampled_from([1e300, -1e300, math.nan])


def signer(now: float = NOW, key: bytes = KEY) -> Signer:
    return Signer(key, REVISION, lambda: now)


@given(SCORES, st.integers(-1, 65534), st.integers(-1, 99))
def test_a_token_says_what_was_signed(score: float, label: int, bucket: int) -> None:
    text = signer().sign(score, label, bucket).decode()
    assert len(text) == 40
    assert set(text) <= set(string.ascii_letters + string.digits + "-_")
    token = signer().verify(text, DAY)
    assert (token.issued, token.revision, token.label, token.bucket) == (int(NOW), "00ff00ff", label, bucket)
    assert token.score == score or (math.isnan(score) and math.isnan(token.score)) or math.isinf(token.score)
    assert math.isinf(token.score) == (abs(score) > 3.5e38)


@given(st.integers(0, 39), st.sampled_from(ALPHABET))
@example(39, "\n")
def test_no_character_can_be_changed(place: int, character: str) -> None:
    text = signer().sign(0.5, 1, 7).decode()
    changed = text[:place] + character + text[place + 1 :]
    if changed != text:
        with pytest.raises(TokenRefused, match="forged"):
            signer().verify(changed, DAY)


@given(st.text(max_size=60) | st.text(ALPHABET, min_size=36, max_size=44))
def test_what_was_never_signed_is_forged(text: str) -> None:
    with pytest.raises(TokenRefused, match="forged"):
        signer().verify(text, DAY)


@pytest.mark.parametrize("suffix", ["=", "==", "\n", " ", "A", "AAAA"])
def test_a_token_has_one_spelling(suffix: str) -> None:
    text = signer().sign(0.5, 1, 7).decode()
    with pytest.raises(TokenRefused, match="forged"):
        signer().verify(text + suffix, DAY)


def test_another_key_makes_no_tokens_here() -> None:
    text = signer(key=b"another key of16").sign(0.5, 1, 7).decode()
    with pytest.raises(TokenRefused, match="forged"):
        signer().verify(text, DAY)


@given(st.integers(-2 * DAY, 2 * DAY))
def test_tokens_expire_and_do_not_come_from_the_future(age: int) -> None:
    text = signer(NOW - age).sign(0.5, 1, 7).decode()
    if -CLOCK_SKEW_SECONDS < age < DAY:
        assert signer().verify(text, DAY).issued == int(NOW - age)
    elif age > DAY or age < -CLOCK_SKEW_SECONDS - 1:
        with pytest.raises(TokenRefused, match="expired"):
            signer().verify(text, DAY)


def test_equal_predictions_of_one_second_have_different_tokens() -> None:
    one, other = signer(), signer()
    tokens = [maker.sign(0.5, 1, 7) for maker in (one, other) for _ in range(1000)]
    assert len(set(tokens)) == 2000


def test_the_tag_is_hmac_sha256() -> None:
    import base64
    import hmac

    for key in (KEY, b"k" * 64, b"long" * 40):
        raw = base64.urlsafe_b64decode(signer(key=key).sign(0.5, 1, 7))
        assert raw[20:] == hmac.digest(key, raw[:20], "sha256")[:10]


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="the token key has 5 bytes; at least 16 are needed"):
        signer(key=b"short")
