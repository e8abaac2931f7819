"""No secret in anything that is shown: planted by name, by look, in an address, and repeated elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import masking
from toolkit.masking import HIDDEN

TOKEN = "hf_" + "AbCdEf" * 5


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN", "hf_token", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "AWS_ACCESS_KEY_ID",
        "MY_SECRET", "DB_PASSWORD", "PGPASSWORD_FILE_PASS", "SECRETS", "AZURE_CREDENTIALS", "BASIC_AUTH",
        "SESSION_COOKIE", "SENTRY_DSN", "KEY",
    ],
)  # fmt: skip
def test_a_secrets_name_hides_its_value_whatever_it_looks_like(name: str) -> None:
    assert masking.shown(name, "harmless", {}) == HIDDEN
    assert masking.shown(name, "", {}) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PWD", "/somewhere"), ("TOKENIZERS_PARALLELISM", "false"), ("HF_HUB_OFFLINE", "1"), ("KEYBOARD", "de"),
        ("MONKEY", "see"), ("HF_ENDPOINT", "https://mirror.example/hf"), ("CUDA_VISIBLE_DEVICES", "0,1"),
        ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True"),
    ],
)  # fmt: skip
def test_what_is_no_secret_is_shown_as_it_is(name: str, value: str) -> None:
    assert masking.shown(name, value, {}) == value


@pytest.mark.parametrize(
    "secret",
    [
        TOKEN, "sk-proj-abcdef1234567890", "ghp_abcdefghij1234567890", "github_pat_11ABCDE_abcdefgh",
        "xoxb-1234567890-abc", "glpat-abcdefghij1234", "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
    ],
)  # fmt: skip
def test_what_looks_like_a_token_is_hidden_anywhere(secret: str) -> None:
    for text in (secret, f"path/{secret}/x", f"--with {secret}.", f'{{"a": "{secret}"}}'):
        assert secret not in masking.mask(text, {})
        assert HIDDEN in masking.mask(text, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:pass@host/x", f"https://{HIDDEN}@host/x"),
        ("http://me:p@host:8080", f"http://{HIDDEN}@host:8080"),
        ("socks5://user@host", f"socks5://{HIDDEN}@host"),
        ("https://host/x?token=abc&a=1", f"https://host/x?token={HIDDEN}&a=1"),
        ("https://host/x?X_api_key=abc", f"https://host/x?X_api_key={HIDDEN}"),
        ("Authorization: Bearer abcdef123", f"Authorization: Bearer {HIDDEN}"),
        ("password: open-sesame", f"password: {HIDDEN}"),
        ("https://host/path", "https://host/path"),
    ],
)
def test_addresses_and_named_values_keep_all_but_the_secret(text: str, expected: str) -> None:
    assert masking.mask(text, {}) == expected


def test_a_secret_that_turns_up_elsewhere_is_hidden_there_too() -> None:
    values = {"MY_PASSWORD": "correct horse", "LONGER_SECRET": "correct horse battery", "PASS": "short"}
    assert masking.mask("said correct horse battery, correct horse", values) == f"said {HIDDEN}, {HIDDEN}"
    assert masking.mask("a short text", values) == "a short text"  # too short to hunt for


@given(st.text(), st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", min_size=10), st.text())
def test_a_known_secret_never_survives(before: str, secret: str, after: str) -> None:
    assert secret not in masking.mask(before + secret + after, {"ANY_TOKEN": secret})
