"""Branch patterns for triggers, against RE2 itself."""

from __future__ import annotations

import re2
from hypothesis import example, given
from hypothesis import strategies as st

from mawasu.platforms.gcp.re2 import branch_regex, re2_fault
from mawasu.spec import globs

PARTS = st.one_of(
    st.just("**"),
    st.lists(
        st.sampled_from(
            ["a", "b", ".", "-", "+", "é", "*", "?", "[ab]", "[!a]", "[a-c]", "[+-9]", "[/]", "[^b-]", "[]]"]
        ),
        min_size=1,
        max_size=4,
    ).map("".join),
)
GLOBS = st.lists(PARTS, min_size=1, max_size=5).map("/".join).filter(lambda glob: globs.wrong(glob) is None)
BRANCHES = st.lists(st.text("ab.-+09é]", min_size=1, max_size=4), min_size=1, max_size=5).map("/".join)


def accepts(pattern: str) -> bool:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error:
        return False
    return True


@given(GLOBS, BRANCHES)
@example("**", "a/b")
@example("**/a/**", "a/a")
@example("**/**", "a")
@example("[/]", "a")
@example("a/**/**/b", "a/b")
@example("feature/[a-z]*", "feature/a.b")
def test_a_trigger_fires_for_exactly_the_branches_that_the_glob_names(glob: str, branch: str) -> None:
    assert (re2.search(branch_regex(glob), branch) is not None) == globs.match_branch(glob, branch)


@given(st.lists(GLOBS, min_size=1, max_size=4), BRANCHES)
def test_several_globs_make_one_pattern(several: list[str], branch: str) -> None:
    matched = re2.search(branch_regex(*several), branch) is not None
    assert matched == any(globs.match_branch(glob, branch) for glob in several)


@given(GLOBS)
def test_what_is_made_of_a_glob_is_fit_for_re2(glob: str) -> None:
    assert re2_fault(branch_regex(glob)) is None


PIECES = st.one_of(
    st.sampled_from([*"ab.^$|()*+?{}[]-/é_\\", "main", "{2}", "{2,}", "{3,2}", "{1001}"]),
    st.sampled_from(["(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?P<n>", "(?P=n)", "(?i)", "(?x)", "(?i:", "(?("]),
    st.sampled_from(["[^", "[a-c]", "[c-a]", "[[:alpha:]]", "[[:no:]]", "\\pL", "\\p{Greek}", "\\Q", "\\E", "\\_"]),
    st.sampled_from(["\\d", "\\b", "\\1", "\\12", "\\8", "\\z", "\\Z", "\\K", "\\.", "\\x41", "\\x{41}", "\\x"]),
)


@given(st.lists(PIECES, min_size=1, max_size=6).map("".join))
@example("^(?!main$).*$")
@example("a*+")
@example("(a)\\1")
@example("a{2}{3}")
@example("[\\d-z]")
@example("[a--]")
@example("[a-\\d]")
def test_a_fault_is_told_exactly_where_re2_refuses(pattern: str) -> None:
    assert (re2_fault(pattern) is None) == accepts(pattern)


def test_a_fault_says_what_re2_lacks() -> None:
    assert re2_fault("^(?!main$).*$") == "RE2 has no lookahead `(?!`"
    assert re2_fault("^(a|b)-\\1$") == "RE2 has no back-reference `\\1`"
    assert re2_fault("^a++$") == "RE2 has no possessive repetition `++`"
    assert re2_fault("^main\\Z") == "RE2 has no `\\Z`"
    assert re2_fault("^(main$") == "a `(` is not closed"
