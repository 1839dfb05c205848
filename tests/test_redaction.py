"""Redaction: no secret of a URL in what is shown, and nothing else removed."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskgmm import errors
from daskgmm.redaction import cause_to_show, one_line, redacted

PART = st.text("abcXYZ019-_.~", min_size=1, max_size=12)
SCHEME = st.text("abcxyz", min_size=1, max_size=4)
# Begins with letters: "host:8080/me@home" cannot be told from "user:80/80@host".
SECRET = st.text("ghjkGHJK2345+/=:", min_size=2, max_size=24).map("ghjk".__add__)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("data.zarr", "data.zarr"),
        ("/a/b@c?d/x.zarr", "/a/b@c?d/x.zarr"),
        ("s3://bucket/x.zarr", "s3://bucket/x.zarr"),
        ("s3://bucket/me@home/x.zarr", "s3://bucket/me@home/x.zarr"),
        ("http://host:8080/me@home/x.zarr", "http://host:8080/me@home/x.zarr"),
        ("https://u:p@host:8080/x.zarr", "https://***@host:8080/x.zarr"),
        ("https://token@host/x.zarr", "https://***@host/x.zarr"),
        ("https://host/x.zarr?sig=abc&b=1", "https://host/x.zarr?***"),
        ("s3://KEY:se/cr/et@bucket/x", "s3://***@bucket/x"),
        ("abfs://container@account.host/x", "abfs://container@account.host/x"),
        ("abfs://user:pass@host/x", "abfs://***@host/x"),
        ("simplecache::s3://k:s@bucket/x", "simplecache::s3://***@bucket/x"),
        ("zip://x.zarr::https://u:p@h/x.zip?t=1", "zip://x.zarr::https://***@h/x.zip?***"),
    ],
)
def test_examples(url, shown):
    assert redacted(url) == shown
    assert redacted(shown) == shown
    assert redacted(f"cannot read '{url}': gone") == f"cannot read '{shown}': gone"


@given(scheme=SCHEME, user=PART, secret=SECRET, host=PART, path=PART)
def test_no_userinfo_survives(scheme, user, secret, host, path):
    shown = redacted(f"{scheme}://{user}:{secret}@{host}/{path}")
    assert secret not in shown
    assert shown.endswith(f"@{host}/{path}")


@given(host=PART, path=PART, secret=SECRET)
def test_no_query_survives(host, path, secret):
    assert redacted(f"https://{host}/{path}?token={secret}") == f"https://{host}/{path}?***"


def test_a_cause_is_shown_on_one_line_and_chained_only_if_clean():
    clean = ValueError("two\nlines")
    assert one_line(clean) == "ValueError: two lines"
    assert cause_to_show(clean) is clean
    secret = OSError("403 at https://u:hunter2@host/x")
    assert one_line(secret) == "OSError: 403 at https://***@host/x"
    assert cause_to_show(secret) is None
    assert len(one_line(ValueError("x" * 10_000))) < 400


@pytest.mark.parametrize("name", ["DamagedDataError", "StorageError", "ModelFormatError"])
def test_errors_travel(name):
    error = getattr(errors, name)("what, where, the way out")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
