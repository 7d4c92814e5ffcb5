from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.spec import globs
from mawasu.words import File, Tree

part = st.text(st.sampled_from("abB.-_0"), min_size=1, max_size=4)
paths = st.lists(part, min_size=1, max_size=4).map("/".join)
piece = st.sampled_from(["a", "b", ".", "-", "*", "?", "[ab]", "[!a]", "[a-c0]"])
glob_part = st.lists(piece, min_size=1, max_size=4).map("".join).filter(lambda text: "**" not in text)
some_globs = st.lists(st.one_of(glob_part, st.just("**")), min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("api", "api", True),
        ("api", "api/a/b.py", True),
        ("api/", "api/a/b.py", True),
        ("api/", "api", False),
        ("api", "apis", False),
        ("api", "x/api", False),
        ("*.py", "a.py", True),
        ("*.py", "a/a.py", False),
        ("*", ".hidden", True),
        ("a/*", "a/", False),
        ("a/*", "a/b", True),
        ("a/*", "a/b/c", False),
        ("a*/", "ab/c/d", True),
        ("**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**", "a/b/c", True),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/b/b/c", True),
        ("a/**/**/c", "a/b/c", True),
        ("**/c", "c", True),
        ("**/c", "a/b/c", True),
        ("**/c", "a/b/xc", False),
        ("**/b/*/d", "a/b/c/b/x/d", True),
        ("**/b/*/d", "a/b/c/b/d", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
        ("[^ab].txt", "c.txt", True),
        ("a[!b]c", "a/c", False),
        ("[[]", "[", True),
        ("[]a]", "]", True),
        ("a+b", "a+b", True),
        ("A", "a", False),
        ("*a*b*c", "xaxbxc", True),
        ("*a*b*c", "xaxbxcx", False),
    ],
)
def test_a_glob_matches_as_in_gitignore(glob: str, path: str, matches: bool) -> None:
    assert globs.match(glob, path) is matches


@pytest.mark.parametrize(
    ("glob", "branch", "matches"),
    [
        ("main", "main", True),
        ("main", "main/x", False),
        ("release/*", "release/1.2", True),
        ("release/*", "release/1.2/fix", False),
        ("feature/**", "feature/a/b", True),
        ("**", "any/thing", True),
        ("*", "any/thing", False),
    ],
)
def test_a_plain_branch_is_itself_alone(glob: str, branch: str, matches: bool) -> None:
    assert globs.match_branch(glob, branch) is matches


def test_select_keeps_the_files_that_one_glob_names() -> None:
    tree = Tree({path: File("100644", "0" * 40) for path in ("a/x", "a/y", "b", "c.py")})
    assert set(globs.select(tree, ["a", "*.py"]).files) == {"a/x", "a/y", "c.py"}
    assert globs.select(tree, []).files == {}


@given(paths)
def test_a_path_matches_itself_its_directories_and_two_stars(path: str) -> None:
    parts = path.split("/")
    assert all(globs.match("/".join(parts[:count]), path) for count in range(1, len(parts) + 1))
    assert globs.match("**", path)
    assert globs.match("/".join("*" for _ in parts), path)
    assert globs.match_branch(path, path)


@given(st.lists(some_globs, max_size=3), st.lists(paths, max_size=6))
def test_select_is_match_of_any(chosen: list[str], files: list[str]) -> None:
    tree = Tree({path: File("100644", "0" * 40) for path in files})
    expected = {path for path in files if any(globs.match(glob, path) for glob in chosen)}
    assert set(globs.select(tree, chosen).files) == expected
    assert all(globs.match_any(chosen, path) == (path in expected) for path in files)


@given(some_globs, paths)
def test_atomic_groups_change_no_answer(glob: str, path: str) -> None:
    assert globs.match_branch(glob, path) is slow_match(glob.split("/"), path.split("/"))


def slow_match(glob: list[str], path: list[str]) -> bool:
    """The meaning of a glob in its plainest words."""
    if not glob:
        return not path
    if glob[0] == "**":
        ends_here = len(glob) == 1 and bool(path)
        return (
            ends_here or (slow_match(glob[1:], path) and len(glob) > 1) or (bool(path) and slow_match(glob, path[1:]))
        )
    return bool(path) and slow_part(glob[0], path[0]) and slow_match(glob[1:], path[1:])


def slow_part(glob: str, text: str) -> bool:
    if not glob:
        return not text
    if glob[0] == "*":
        return slow_part(glob[1:], text) or (bool(text) and slow_part(glob, text[1:]))
    if glob[0] == "[":
        end = glob.index("]")
        return (
            bool(text)
            and bool(re.match(glob[: end + 1].replace("!", "^"), text))
            and slow_part(glob[end + 1 :], text[1:])
        )
    return bool(text) and glob[0] in ("?", text[0]) and slow_part(glob[1:], text[1:])


@pytest.mark.timeout(10)
def test_a_hostile_glob_is_not_slow() -> None:
    assert not globs.match("*a" * 60 + "b", "a" * 4000)
    assert not globs.match("/".join(["**", "a"] * 40) + "/b", "/".join(["a"] * 2000))


@pytest.mark.parametrize("glob", ["a**", "**a/b", "***", "a/[b", "[", "[z-a]", "[a--b]"])
def test_a_bad_glob_is_named_before_it_is_used(glob: str) -> None:
    assert globs.wrong(glob) is not None


@given(st.one_of(st.text(st.sampled_from("ab*?[]!^-/&|~\\"), min_size=1, max_size=8), some_globs))
def test_a_glob_that_is_not_wrong_can_be_used(glob: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if globs.wrong(glob) is None:
            globs.match(glob, "a/b")
            globs.match_branch(glob, "a/b")
