"""What is true after each kind of entry."""

from __future__ import annotations

from mawasu.ledger.entries import (
    AnyBody,
    Body,
    BuildFinished,
    BuildPlanned,
    BuildQueued,
    Collected,
    Entry,
    EnvironmentGone,
    StepFinished,
    StepStarted,
    Switched,
    SwitchIntended,
    decode,
    encode,
)
from mawasu.ledger.fold import _RULES, State, apply, outcome_of, unfinished
from mawasu.words import Outcome, Push, Result
from tests.ledger.ledger_tools import commit, digest, finished_step, queued, registered, whole_build


def fold(*bodies: AnyBody, state: State | None = None) -> State:
    state = state or State()
    for body in bodies:
        state = apply(state, Entry(state.number + 1, state.head, 1000.0 + state.number, body))
    return state


def test_there_is_a_rule_for_every_kind_of_entry() -> None:
    assert set(_RULES) == set(Body.__subclasses__())


def test_an_entry_comes_back_from_its_bytes() -> None:
    for number, body in enumerate(whole_build(1, "main", "staging", digest("m"), digest("p")), 1):
        entry = Entry(number, digest("before"), 12.5, body)
        assert decode(encode(entry)) == entry


def test_the_state_given_stays_as_it_is() -> None:
    before = fold(queued(1))
    apply(before, Entry(2, before.head, 0.0, BuildFinished(1, Result.FAILED)))
    assert before == fold(queued(1))


def test_entries_about_what_was_never_there_change_nothing_else() -> None:
    state = fold(
        BuildPlanned(7, digest("p"), ()),
        StepStarted(7, "train", digest("k")),
        SwitchIntended(7, "staging", digest("r"), "x"),
        BuildFinished(7, Result.FAILED),
        EnvironmentGone("nowhere", "branch deleted"),
        Collected((digest("k"),), (digest("r"),)),
    )
    assert state.number == 6
    assert not state.builds


def test_a_push_moves_its_branch_and_its_environment() -> None:
    state = fold(queued(1))
    assert state.heads == {"flights/main": commit("main 1")}
    assert state.environments["staging"].last_push == 1000.0
    assert [build.number for build in unfinished(state)] == [1]


def test_a_dirty_push_moves_nothing_but_its_steps_count() -> None:
    state = fold(queued(1, dirty=True), finished_step(1, "key", digest("model")))
    assert state.heads == {}
    assert state.environments == {}
    assert digest("key") in state.done


def test_a_deleted_branch_has_no_head() -> None:
    state = fold(queued(1), BuildQueued(2, Push("flights", "main", commit("main 1"), None), ""))
    assert state.heads == {"flights/main": ""}


def test_the_first_good_outcome_of_a_key_stands() -> None:
    failed = StepFinished(1, "train", digest("key"), Outcome(Result.FAILED))
    first, second = finished_step(2, "key", digest("one")), finished_step(3, "key", digest("two"))
    assert fold(queued(1), failed).done == {}
    state = fold(queued(1), failed, first, second)
    assert state.done[digest("key")].build == 2
    assert state.done[digest("key")].outcome.outputs == {"model": digest("one")}


def test_a_reused_step_has_the_outcome_of_its_key() -> None:
    state = fold(
        queued(1),
        finished_step(1, "key", digest("model")),
        queued(2),
        BuildPlanned(2, digest("plan"), (("train", digest("key"), False), ("evaluate", digest("e"), True))),
    )
    train, evaluate = state.builds[2].steps
    reused = outcome_of(state, train)
    assert reused is not None
    assert reused.outputs == {"model": digest("model")}
    assert outcome_of(state, evaluate) is None


def test_planning_again_after_a_restart_keeps_what_steps_have() -> None:
    plan = BuildPlanned(1, digest("plan"), (("train", digest("key"), True), ("judge", digest("j"), True)))
    state = fold(queued(1), plan, StepStarted(1, "train", digest("key")), finished_step(1, "key", digest("m")), plan)
    train, judge = state.builds[1].steps
    assert train.outcome is not None
    assert train.started == 1002.0
    assert judge.outcome is None


def test_a_switch_is_what_an_environment_serves_and_its_history() -> None:
    state = fold(*whole_build(1, "main", "staging", digest("one"), digest("p")))
    state = fold(*whole_build(2, "main", "staging", digest("two"), digest("p")), state=state)
    staging = state.environments["staging"]
    assert staging.serving is not None
    assert staging.serving.revision == "revision-2"
    assert [past.build for past in staging.history] == [1, 2]
    assert staging.intended is None
    served = [past.release for past in state.environments["staging"].history]
    assert digest(f"release of {digest('one')}") in served
    assert digest("another") not in served


def test_a_build_that_ends_before_its_switch_intends_nothing_any_more() -> None:
    intended = fold(queued(1), SwitchIntended(1, "staging", digest("r"), "revision-1"))
    assert intended.environments["staging"].intended is not None
    failed = fold(BuildFinished(1, Result.FAILED, "never healthy"), state=intended)
    assert failed.environments["staging"].intended is None
    assert failed.builds[1].reason == "never healthy"
    assert unfinished(failed) == []


def test_an_environment_that_is_gone_serves_nothing_until_the_next_push() -> None:
    state = fold(
        *whole_build(1, "try", "preview-try", digest("m"), digest("p")), EnvironmentGone("preview-try", "deleted")
    )
    preview = state.environments["preview-try"]
    assert (preview.gone, preview.serving, len(preview.history)) == (True, None, 1)
    again = fold(queued(2, "try", "preview-try"), state=state).environments["preview-try"]
    assert (again.gone, again.serving) == (False, None)


def test_what_was_collected_is_not_done_and_can_be_made_again() -> None:
    state = fold(*whole_build(1, "try", "preview-try", digest("m"), digest("p")))
    (release,) = state.releases
    state = fold(Collected((digest("key 1"),), (release,)), state=state)
    assert state.done == {}
    assert state.releases[release].collected
    state = fold(*whole_build(2, "try", "preview-try", digest("m"), digest("p"), key="key 1"), state=state)
    assert state.done[digest("key 1")].build == 2
    assert (state.releases[release].build, state.releases[release].collected) == (2, False)


def test_a_release_is_known_as_it_was_first_registered() -> None:
    state = fold(queued(1), registered(1, "r", digest("m"), "k"), queued(2), registered(2, "r", digest("m"), "k"))
    assert state.releases[digest("r")].build == 1
    assert state.builds[2].release == digest("r")


def test_switching_names_the_branch_of_an_environment_that_no_push_did() -> None:
    state = fold(queued(1, "main", ""), Switched(1, "production", digest("r"), "revision-1"))
    assert state.environments["production"].branch == "main"
