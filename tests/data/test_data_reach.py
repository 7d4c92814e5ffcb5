"""Which places outside the repository may be read, and by whose word."""

from __future__ import annotations

from pathlib import Path

import pytest

from mawasu.data.reach import Reach
from mawasu.errors import StepError
from mawasu.spec.feature import DataSet, DataSource


def source(path: str) -> DataSet:
    return DataSet(name="resumes", source=DataSource(path=path))


def may(path: str, *roots: str, never: tuple[str, ...] = ()) -> bool:
    try:
        Reach(roots, frozenset(never)).check(source(path))
    except StepError:
        return False
    return True


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("gs://lake/resumes", "gs://lake/resumes"),
        ("gs://lake/resumes/", "gs://lake/resumes"),
        ("gs://lake/resumes/2024/a.csv", "gs://lake/resumes"),
        ("gs://lake", "gs://lake"),
        ("gs://lake/a", "gs://lake"),
        ("gs://lake/a", "gs://"),
        ("/srv/data/a.csv", "/srv/data"),
        ("file:///srv/data/a.csv", "/srv/data"),
    ],
)
def test_what_lies_below_an_allowed_place_may_be_read(path: str, root: str) -> None:
    assert may(path, "/elsewhere", root)


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("gs://lake/resumes-secret/a.csv", "gs://lake/resumes"),
        ("gs://lake", "gs://lake/resumes"),
        ("gs://lakes/a", "gs://lake"),
        ("gs://lake/a", "/"),
        ("/srv/data/a.csv", "gs://"),
        ("/srv/data-secret/a.csv", "/srv/data"),
        ("/srv/data/../other/a.csv", "/srv/data"),
    ],
)
def test_what_lies_beside_it_may_not(path: str, root: str) -> None:
    assert not may(path, root)


def test_nothing_may_be_read_where_nothing_was_allowed_and_all_of_ones_own() -> None:
    assert not may("/srv/a")
    assert not may("gs://lake/a")
    Reach().check(source("/srv/a"))
    Reach().check(source("gs://lake/a"))


def test_buckets_of_mawasu_are_never_data() -> None:
    assert not may("gs://records/ledger", "gs://", never=("records",))
    assert may("gs://records-2/ledger", "gs://", never=("records",))


def test_the_refusal_says_what_would_allow_it() -> None:
    for path, allow in (("gs://lake/resumes/a.csv", "gs://lake/resumes"), ("/srv/data/a.csv", "/srv/data")):
        with pytest.raises(StepError, match="may be read here") as caught:
            Reach((str(Path("/elsewhere")),)).check(source(path))
        assert caught.value.hint.endswith(f"`mawasu up --data {allow}`")
