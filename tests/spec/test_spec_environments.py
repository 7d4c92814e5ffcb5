from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mawasu.spec import load
from mawasu.spec.environments import LONGEST_SLUG, branch_of, environment_of, safe_branch, slug_of
from tests.spec.texts import EXAMPLES

FEATURE = load((EXAMPLES / "environments.yaml").read_text())

branches = st.text(st.sampled_from("abzkxcsduphAKZ019._/+-"), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("branch", "name"),
    [
        ("production", "production"),
        ("production-b", "variant-b"),
        ("release/1.2", "release"),
        ("feature/x", "preview-feature--sx"),
    ],
)
def test_a_branch_goes_to_the_environment_that_wants_it(branch: str, name: str) -> None:
    chosen = environment_of(FEATURE, branch)
    assert chosen is not None
    assert chosen.name == name


@pytest.mark.parametrize("branch", ["main", "release/1.2/fix", "feature"])
def test_a_branch_that_nothing_wants_goes_nowhere(branch: str) -> None:
    assert environment_of(FEATURE, branch) is None


def test_stable_environments_come_before_previews_wherever_they_stand() -> None:
    text = (EXAMPLES / "minimal.yaml").read_text()
    text += 'environments:\n  preview: {}\n  staging: {branch: main}\n  late: {branch: "*"}\n'
    feature = load(text)
    names = [chosen.name for branch in ("main", "x", "a/b") if (chosen := environment_of(feature, branch))]
    assert names == ["staging", "late", "preview-a--sb"]


@pytest.mark.parametrize(
    ("branch", "slug"),
    [
        ("try-gbdt", "try-gbdt"),
        ("feature/a_b", "feature--sa--ub"),
        ("feature/JIRA-12_b", "feature--s--kjira--k-12--ub"),
        ("v1.2+Fix", "v1--d2--p--cfix"),
        ("a--b-", "a--h-b--h"),
        ("日本", "--xcf2abf0c5be326cb"),
        ("Fix the thing!", "fix-the-thing--x755f9092d6e6d18b"),
    ],
)
def test_slugs_stay_readable(branch: str, slug: str) -> None:
    assert slug_of(branch) == slug


@given(branches)
@example("AB-cD--Ef")
@example("k-K-KK-k")
def test_a_slug_is_read_back_as_its_branch(branch: str) -> None:
    slug = slug_of(branch)
    assert branch_of(slug) == (None if "--x" in slug else branch)


@given(st.text(max_size=300))
def test_every_branch_has_a_slug_that_fits_a_domain_name(branch: str) -> None:
    assert len(slug_of(branch)) <= LONGEST_SLUG
    assert re.fullmatch(r"preview-[a-z0-9-]*[a-z0-9]", "preview-" + slug_of(branch))


@given(st.lists(st.one_of(branches, st.text(max_size=80)), unique=True, max_size=20))
def test_no_two_branches_share_a_slug(names: list[str]) -> None:
    assert len({slug_of(name) for name in names}) == len(names)


@given(st.text(st.sampled_from("abkxcs19-"), max_size=12))
@example("--xcf2abf0c5be326cb")
@example("")
def test_what_is_read_as_a_slug_is_the_slug_of_that_branch(text: str) -> None:
    branch = branch_of(text)
    assert branch is None or slug_of(branch) == text


@pytest.mark.parametrize("branch", ["main", "feature/a_b", "v1.2+x", "dependabot/pip/x-1.0", "A" * 200])
def test_usual_branches_are_safe(branch: str) -> None:
    assert safe_branch(branch) is None


@pytest.mark.parametrize(
    ("branch", "reason"),
    [
        ("", "1 to 200 characters"),
        ("a" * 201, "1 to 200 characters"),
        ("--upload-pack=x", "`=`"),
        ("-x", "may not start with `-`"),
        ("$(reboot)", "`$`"),
        ("<script>", "`<`"),
        ("a b", "a space"),
        ("a\u202eb", "`\\u202e`"),
        ("a\x1b[2J", "`\\x1b`"),
        ("a\n", "`\\n`"),
        ("a@{1}", "`@`"),
        ("é", "`é`"),
        ("a..b", "`..`"),
        (".a", "start or end with `.`"),
        ("a/.b", "start or end with `.`"),
        ("a.", "start or end with `.`"),
        ("a.lock", "`.lock`"),
        ("a.lock/b", "`.lock`"),
        ("a//b", "`//`"),
        ("/a", "`/`"),
        ("a/", "`/`"),
        ("HEAD", "git's own"),
    ],
)
def test_a_hostile_branch_is_refused_with_the_reason(branch: str, reason: str) -> None:
    refusal = safe_branch(branch)
    assert refusal is not None
    assert reason in refusal
    assert refusal.isprintable()


@given(st.text(max_size=20))
def test_a_refusal_can_always_be_shown(branch: str) -> None:
    assert (safe_branch(branch) or "").isprintable()
