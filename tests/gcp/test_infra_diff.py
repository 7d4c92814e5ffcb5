"""What lies between wanted and found."""

from __future__ import annotations

from typing import Any

from mawasu.google.iam import Grant, changed, grants_of
from mawasu.platforms.gcp.infra.diff import diff, edits_between
from mawasu.platforms.gcp.infra.read import mine
from mawasu.platforms.gcp.infra.words import Change, Edit, Found, Resource
from mawasu.platforms.gcp.names import Cloud

CLOUD = Cloud("acme", "1", "europe-west1", "acme-mawasu")
OURS = "serviceAccount:mawasu-build@acme.iam.gserviceaccount.com"


def trigger(**body: Any) -> Resource:
    return Resource("trigger", "t", {"timeout": "60s", "filter": "", **body}, "why", owner="repo")


def found(ours: bool = True, owner: str = "repo", **body: Any) -> Found:
    return Found("trigger", "t", {"timeout": "60s", **body}, ours, "t-1", owner)


def between(wanted: list[Resource], there: list[Found], applied: dict[str, str] | None = None) -> list[Change]:
    return diff(wanted, there, applied or {}, frozenset({"repo"}))


def test_what_is_as_wanted_needs_nothing_also_where_google_leaves_out_or_rewrites() -> None:
    assert between([trigger()], [found()]) == []
    assert between([trigger(timeout="3600s")], [found(timeout="3600.000s")]) == []
    assert between([trigger(disabled=False)], [found(createTime="now")]) == []


def test_a_change_names_its_field_and_both_values() -> None:
    change = between([trigger(timeout="90s")], [found()])[0]
    assert change.edits == (Edit("timeout", "60s", "90s"),)
    assert not change.by_hand


def test_a_field_set_by_hand_is_seen_and_told_from_a_change_of_mind() -> None:
    one = trigger()
    change = between([one], [found(filter="true")], {one.id: one.mark})[0]
    assert change.edits == (Edit("filter", "true", ""),)
    assert change.by_hand
    assert not between([one], [found(filter="true")], {one.id: "another mark"})[0].by_hand


def test_what_was_applied_and_is_gone_was_removed_by_hand() -> None:
    one = trigger()
    assert between([one], [], {one.id: one.mark})[0].by_hand
    assert not between([one], [])[0].by_hand


def test_something_put_into_a_map_that_is_mawasus_whole_is_seen() -> None:
    wanted = {"build": {"steps": [{"name": "runner"}]}}
    there = {"build": {"steps": [{"name": "runner", "env": ["A=b"]}], "options": {"more": "of Google's"}}}
    assert list(edits_between("trigger", wanted, there)) == [Edit("build.steps[0].env", ["A=b"], None)]


def test_what_does_not_carry_the_mark_is_refused_and_never_deleted() -> None:
    assert between([trigger(timeout="90s")], [found(ours=False)])[0].verb == "refuse"
    assert between([], [found(ours=False)]) == []


def test_what_another_repository_made_is_neither_changed_nor_deleted() -> None:
    assert between([trigger(timeout="90s")], [found(owner="other")])[0].verb == "refuse"
    assert between([], [found(owner="other")]) == []
    assert between([], [found()])[0].verb == "delete"


def test_a_field_that_cannot_be_changed_is_refused_with_both_values() -> None:
    wanted = Resource("bucket", "b", {"location": "EUROPE-WEST1"}, "why")
    change = diff([wanted], [Found("bucket", "b", {"location": "US"}, True)], {}, frozenset())[0]
    assert change.verb == "refuse"
    assert "location is US and cannot become EUROPE-WEST1" in change.why


# ------------------------------------------------------------------------------------------------ policies


def test_members_that_are_not_mawasus_stay_as_they_are() -> None:
    others: list[dict[str, Any]] = [
        {"role": "roles/owner", "members": ["user:boss@example.com"]},
        {
            "role": "roles/run.admin",
            "members": ["user:ops@example.com", OURS],
            "condition": {"title": "t", "expression": "e"},
        },
        {"role": "roles/viewer", "members": ["serviceAccount:mawasu-build@another.iam.gserviceaccount.com"]},
    ]
    policy = {"etag": "abc", "version": 3, "auditConfigs": [{"service": "allServices"}], "bindings": others}
    after = changed(policy, [Grant("roles/run.admin", OURS)], mine(CLOUD, "project/acme-ml"))
    assert after["etag"] == "abc"
    assert after["version"] == 3
    assert after["auditConfigs"] == policy["auditConfigs"]
    assert after["bindings"] == [
        others[0],
        {**others[1], "members": ["user:ops@example.com"]},
        others[2],
        {"role": "roles/run.admin", "members": [OURS]},
    ]


def test_accounts_that_were_deleted_lose_what_they_had() -> None:
    policy = {"bindings": [{"role": "roles/run.admin", "members": [f"deleted:{OURS}?uid=12"]}]}
    assert len(grants_of(policy, mine(CLOUD, "project/acme-ml"))) == 1
    assert changed(policy, [], mine(CLOUD, "project/acme-ml"))["bindings"] == []


def test_the_same_role_with_and_without_a_condition_are_two_grants() -> None:
    wanted = [Grant("roles/a.b", OURS, "t", "x"), Grant("roles/a.b", OURS)]
    assert set(grants_of(changed({}, wanted, mine(CLOUD, "project/acme-ml")), mine(CLOUD, "project/acme-ml"))) == set(
        wanted
    )
