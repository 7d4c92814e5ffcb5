"""One build from its push to its end: read, plan, walk the steps, record each intention and outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from mawasu.data.reach import Reach
from mawasu.errors import MawasuError, SpecError
from mawasu.executor.commit import CommitOf, git_dir, read_feature
from mawasu.executor.deploy import Deploy
from mawasu.executor.documents import CheckApi, faults_of
from mawasu.executor.known import Bring, brought, known
from mawasu.executor.records import Records
from mawasu.executor.sites import Live
from mawasu.executor.steps import Walk, do
from mawasu.gateway.openapi import parse as parse_openapi
from mawasu.git.repository import read_tree
from mawasu.home import Home
from mawasu.ledger.entries import AnyBody, BuildFinished, BuildPlanned, StepFinished, StepStarted
from mawasu.ledger.fold import BuildState, State
from mawasu.ledger.ledger import Ledger
from mawasu.plan import Known, Plan, Step, StepKind, plan
from mawasu.ports import Cancel, Workshop
from mawasu.spec.environments import environment_of
from mawasu.store.artifacts import name_artifact
from mawasu.words import Commit, Outcome, Result, short

Secrets = Callable[[Sequence[str], str, Literal["training", "api"], bool], Mapping[str, str]]
"""Names, environment, step, whether it is a preview → values."""


class Locks:
    """A lock per name: one key is worked on once, one environment is switched by one build at a time."""

    def __init__(self) -> None:
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def of(self, name: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())


@dataclass
class Shop:
    """What all builds of a home share."""

    home: Home  # repositories, and room to work in
    records: Records
    workshop: Workshop
    live: Live | None  # None: nothing is served here (`mawasu run`)
    secrets: Secrets
    reach: Reach = field(default_factory=Reach)  # what may be read outside the repository
    bring: Bring = brought
    check_api: CheckApi = parse_openapi
    locks: Locks = field(default_factory=Locks)
    told: Callable[[AnyBody], None] = lambda _: None  # every entry of every build, as it is written


@dataclass
class Ended:
    result: Result
    reason: str = ""
    hint: str = ""
    faults: tuple[str, ...] = ()


class Build:
    """Runs one build of a feature.

    `at` is what to build where that is not a commit of the project (a dirty working tree).
    """

    def __init__(self, shop: Shop, ledger: Ledger, build: BuildState, at: CommitOf | None = None) -> None:
        self.shop, self.ledger, self.build, self.at = shop, ledger, build, at
        self.deploy: Deploy | None = None

    def run(self, cancel: Cancel) -> Ended:
        """Walk to the end and record it. Expected errors become the build's end; the old release serves on."""
        began = time.monotonic()
        try:
            ended = self._run(cancel)
        except SpecError as error:
            faults = tuple(str(fault) for fault in error.faults)
            ended = Ended(Result.FAILED, f"{_files(faults)} has {_count(faults, 'fault')}", error.hint, faults)
        except MawasuError as error:
            ended = Ended(Result.FAILED, error.message, error.hint)
        finally:
            if self.deploy is not None:
                self.deploy.give_up()
        seconds = round(time.monotonic() - began, 3)
        self._append(BuildFinished(self.build.number, ended.result, ended.reason, ended.hint, seconds, ended.faults))
        return ended

    def _run(self, cancel: Cancel) -> Ended:
        push = self.build.push
        if push.new is None:
            return Ended(Result.NOTHING, f"branch {push.branch} was deleted")
        at = self.at or self._read(push.new)
        chosen = environment_of(at.feature, push.branch)
        environment, preview = (
            ("", False) if push.dirty or chosen is None else (chosen.name, chosen.environment.preview)
        )
        if not environment and not push.dirty:
            return Ended(Result.NOTHING, f"no environment takes branch {push.branch}")
        if faults := faults_of(at, self.shop.check_api):
            raise SpecError(tuple(faults))
        if self._switched(environment):
            return Ended(Result.SERVED, f"{environment} serves it; traffic had moved before mawasu was cut off")
        facts = known(
            at, push, environment, self.ledger.state(), self.shop.workshop, self.shop.workshop.store, self.shop.bring
        )
        planned = plan(at.feature, at.tree, environment, facts, preview=preview)
        digest = self.shop.workshop.store.put_bytes(msgspec.json.encode(planned))
        steps = tuple((step.name, step.key, step.runs) for step in planned.steps)
        self._append(BuildPlanned(self.build.number, digest, steps, planned.release))
        if planned.nothing:
            return Ended(Result.NOTHING, "nothing that this feature reads has changed")
        return self._walk(at, planned, facts, cancel)

    def _switched(self, environment: str) -> bool:
        """Whether this very build moved traffic already, and was cut off before it could say that it is done."""
        current = self.ledger.state().environments.get(environment)
        return bool(current and current.serving and current.serving.build == self.build.number)

    def _read(self, commit: Commit) -> CommitOf:
        repo = git_dir(self.shop.home.repos, self.build.push.project)
        return read_feature(repo, read_tree(repo, commit), self.build.file)

    def _walk(self, at: CommitOf, planned: Plan, facts: Known, cancel: Cancel) -> Ended:
        walk = self._prepare(at, planned, facts)
        for step in planned.steps:
            if cancel.is_set() and not (self.deploy and self.deploy.switched):
                return Ended(Result.SUPERSEDED, "a newer push to the branch took its place")
            outcome = self._reused(step) or self._step(step, walk, cancel)
            walk.outcomes[step.name] = outcome
            if outcome.result is not Result.OK:
                if cancel.is_set():
                    return Ended(Result.SUPERSEDED, "a newer push to the branch took its place")
                result = Result.BLOCKED if outcome.result is Result.BLOCKED else Result.FAILED
                return Ended(result, f"{step.name}: {outcome.message or outcome.result}", outcome.hint)
            if step.kind is StepKind.JUDGE and not planned.preview and planned.environment:
                blocked = _blocked(outcome)
                if blocked:
                    return blocked
        if planned.switches:
            return Ended(Result.SERVED, f"{planned.environment} serves {walk.name}")
        return Ended(Result.OK, "every step is done; there is nothing to switch")

    def _prepare(self, at: CommitOf, planned: Plan, facts: Known) -> Walk:
        push = self.build.push
        assert push.new is not None
        commit = "dirty" if push.dirty else short(push.new)
        champion = facts.champion
        walk = Walk(
            at=at,
            champion=CommitOf(champion.feature, champion.tree, at.repo) if champion else None,
            plan=planned,
            known=facts,
            state=self.ledger.state,
            workshop=self.shop.workshop,
            home=self.shop.home,
            reach=self.shop.reach,
            name=f"{planned.feature}/{push.branch}/{commit}",
            environment=planned.environment,
            outcomes={},
            secrets=lambda names, step: self.shop.secrets(names, planned.environment, step, planned.preview),
        )
        if planned.switches and self.shop.live is not None:
            self.deploy = Deploy(walk, self.build.number, push.new, push.branch, self.shop.live, self._append)
        return walk

    def _append(self, body: AnyBody, expect: Callable[[State], None] | None = None) -> None:
        self.ledger.append(body, expect)
        self.shop.told(body)

    def _reused(self, step: Step) -> Outcome | None:
        if step.runs:
            return None
        done = self.ledger.state().done.get(step.key)
        return done.outcome if done else None  # collected since the plan was made: then it runs after all

    def _step(self, step: Step, walk: Walk, cancel: Cancel) -> Outcome:
        pure = step.kind.pure
        name = step.key if pure else f"environment/{walk.plan.feature}/{walk.environment}"
        with self.shop.locks.of(name):
            done = self.ledger.state().done.get(step.key) if pure else None
            if done is not None:  # another build finished this very key while this one waited
                return done.outcome
            return self._do(step, walk, cancel)

    def _name(self, step: Step, walk: Walk, outcome: Outcome) -> None:
        """What a step wrote gets a readable name beside its digest: `feature/branch/commit/step.output`."""
        push = self.build.push
        if outcome.result is not Result.OK or push.dirty or push.new is None:
            return
        for output, digest in outcome.outputs.items():
            what = _what(step.name, output)
            name_artifact(walk.workshop.store, walk.plan.feature, push.branch, push.new, what, digest)

    def _do(self, step: Step, walk: Walk, cancel: Cancel) -> Outcome:
        log = self.shop.records.log(walk.plan.feature, self.build.number, step.name)
        self._append(StepStarted(self.build.number, step.name, step.key))
        try:
            if step.kind.pure:
                outcome = do(step, walk, log, cancel)
            else:
                assert self.deploy is not None
                outcome = self.deploy.do(step, log, cancel)
        finally:
            log.close()
        self._name(step, walk, outcome)
        self._append(StepFinished(self.build.number, step.name, step.key, outcome))
        return outcome


def _what(step: str, output: str) -> str:
    """`train` wrote `MAWASU_MODEL`: its readable name ends in `train.model`."""
    return f"{step.replace('/', '.')}.{output.removeprefix('MAWASU_').lower()}"


def _blocked(outcome: Outcome) -> Ended | None:
    verdict = outcome.facts["verdict"]
    if verdict["decision"] == "pass":
        return None
    return Ended(Result.BLOCKED, verdict["reason"], verdict.get("hint", ""))


def _files(faults: tuple[str, ...]) -> str:
    """The files that have the faults, each of which begins with its own."""
    return " and ".join(dict.fromkeys(fault.partition(":")[0] for fault in faults))


def _count(items: tuple[object, ...], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
