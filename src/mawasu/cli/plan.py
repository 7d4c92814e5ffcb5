"""`mawasu plan`: what a push of this working tree would do, before it is pushed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mawasu.cli.arguments import Verbs

if TYPE_CHECKING:
    from mawasu.executor.commit import CommitOf
    from mawasu.plan import Plan
    from mawasu.words import Push


def register(verbs: Verbs) -> None:
    verb = verbs.add("plan", plan, "Show what pushing this working tree would run, and why.")
    verb.add_argument("--branch", "-b", help="As if pushed to this branch.")
    verb.json()


def plan(branch: str | None, as_json: bool) -> None:
    import msgspec

    from mawasu.cli.output import emit, say
    from mawasu.cli.tree import working_features, working_tree
    from mawasu.errors import MawasuError
    from mawasu.words import Commit, Push

    tree = working_tree()
    name = branch or tree.branch or "main"
    values = []
    for file, at in working_features(tree):
        if isinstance(at, MawasuError):
            raise at
        push = Push(project="", branch=name, old=None, new=Commit("0" * 40), by="run", dirty=True)
        found = planned(at, push)
        if as_json:
            values.append({"file": file, "plan": msgspec.to_builtins(found)})
            continue
        say(f"{at.feature.name} · {name} → {found.environment or 'no environment'}")
        for line in found.lines():
            say(f"  {line}")
    if as_json:
        emit(values)


def planned(at: CommitOf, push: Push) -> Plan:
    """The plan of a working tree, against what the home has done so far (nothing, where there is no home)."""
    from mawasu.cli.context import home
    from mawasu.executor.known import known
    from mawasu.executor.records import LocalRecords
    from mawasu.plan import plan as decide
    from mawasu.platforms.local.workshop import Machine
    from mawasu.spec.environments import environment_of

    records = LocalRecords(home())
    state = records.ledger(at.feature.name).state()
    chosen = environment_of(at.feature, push.branch)
    environment, preview = (chosen.name, chosen.environment.preview) if chosen else ("", False)
    facts = known(at, push, environment, state, Machine(), records.store)
    return decide(at.feature, at.tree, environment, facts, preview=preview)
