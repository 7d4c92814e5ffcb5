"""Doing what is live: register, start the challenger, ask it, one switch of service and gateway, drain."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from mawasu import __version__
from mawasu.errors import BlockedError, MawasuError, SpecError
from mawasu.executor.candidate import Answer, check_examples
from mawasu.executor.commit import CommitOf
from mawasu.executor.contract import Candidate, check_contract, decode
from mawasu.executor.known import PRODUCTION
from mawasu.executor.requests import Requests
from mawasu.executor.sites import Live
from mawasu.executor.steps import StepSecrets, Walk, ensure_image, resources
from mawasu.gateway.bodies import bodies
from mawasu.gateway.dialects import TooLargeError
from mawasu.gateway.openapi import read
from mawasu.gateway.templates import precedence
from mawasu.ledger.entries import AnyBody, ReleaseRegistered, Switched, SwitchIntended
from mawasu.ledger.fold import State
from mawasu.ledger.moved import MovedError, unmoved
from mawasu.plan import Step, StepKind
from mawasu.ports import Cancel, Log
from mawasu.spec.examples import Example, parse_examples
from mawasu.spec.feature import Api, Auth
from mawasu.store.artifacts import name_artifact
from mawasu.words import Digest, Endpoint, Handler, Image, Outcome, Result, ServiceSpec, Site

DRAIN = 10.0
"""Seconds that requests under way may take to finish once traffic has moved."""

LAST_LINES = 200
"""Of what a candidate printed: where the exception behind a failed example is looked for."""


TURN = 1.0
"""Seconds between looks at whether another build is done with the environment."""


class Record(Protocol):
    """Writes an entry; `expect` as in `Ledger.append`."""

    def __call__(self, body: AnyBody, expect: Callable[[State], None] | None = None) -> object: ...


@dataclass
class Deploy:
    """The live half of one build."""

    walk: Walk
    build: int
    commit: str
    branch: str
    live: Live
    record: Record
    endpoint: Endpoint | None = None
    revision: str = ""  # named when it starts
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    switched: bool = False
    previous: str = ""  # the revision that traffic left

    @property
    def release(self) -> Digest:
        assert self.walk.plan.release is not None
        return self.walk.plan.release

    def do(self, step: Step, log: Log, cancel: Cancel) -> Outcome:
        """Run one live step; an expected error becomes its outcome."""
        began = time.monotonic()
        doers: dict[StepKind, Callable[[Log, Cancel], str]] = {
            StepKind.REGISTER: self._register,
            StepKind.START: self._start,
            StepKind.EXAMPLES: self._examples,
            StepKind.CONTRACT: self._contract,
            StepKind.GRANT: self._grant,
            StepKind.SWITCH: self._switch,
            StepKind.DRAIN: self._drain,
        }
        try:
            outcome = Outcome(Result.OK, message=doers[step.kind](log, cancel))
        except BlockedError as error:
            outcome = Outcome(Result.BLOCKED, message=error.message, hint=error.hint)
        except MawasuError as error:
            outcome = Outcome(Result.FAILED, message=error.message, hint=error.hint)
        if outcome.message:
            log.write(outcome.message)
        return msgspec.structs.replace(outcome, seconds=round(time.monotonic() - began, 3))

    def give_up(self) -> None:
        """The candidate will not serve: end it, unless traffic already moved to it."""
        if not self.switched and self.revision:
            self.live.services.stop(self.revision, drain=0)

    # ------------------------------------------------------------------------------------------------ steps

    def _register(self, log: Log, cancel: Cancel) -> str:
        model = model_of(self.walk)
        keys = {step.name: step.key for step in self.walk.plan.steps}
        parts = {"model": model} if model else {}
        for part, digest in parts.items():
            store = self.walk.workshop.store
            name_artifact(store, self.walk.plan.feature, self.branch, self.commit, part, digest)
        self.record(
            ReleaseRegistered(
                build=self.build,
                release=self.release,
                name=self.walk.name,
                commit=self.commit,
                branch=self.branch,
                parts=parts,
                keys=keys,
            )
        )
        return f"release {self.walk.name}"

    def _start(self, log: Log, cancel: Cancel) -> str:
        walk = self.walk
        image = ensure_image(walk.at, "api", walk, log, cancel)
        spec = service_spec(
            walk.at,
            walk.environment,
            self.release,
            image,
            model_of(walk),
            walk.secrets,
            preview=walk.plan.preview,
            log=log,
        )
        spec = msgspec.structs.replace(spec, revision=self.live.services.name(spec, self.build))
        self.revision = spec.revision
        self.endpoint = self.live.services.start(spec, log)
        self.live.services.wait_ready(self.revision, spec.resources.timeout, cancel)
        return f"{max(1, spec.replicas)} replica{'s' if spec.replicas > 1 else ''} ready"

    def _examples(self, log: Log, cancel: Cancel) -> str:
        assert self.endpoint is not None
        found = examples_of(self.walk.at)
        self.answers = check_examples(
            self.endpoint,
            found,
            log,
            self._printed,
            self.live.identity,
        )
        return f"{len(found)} of {len(found)} examples as expected"

    def _printed(self, holding: str) -> Sequence[str]:
        return self.live.services.printed(self.revision, LAST_LINES, holding)

    def _contract(self, log: Log, cancel: Cancel) -> str:
        assert self.endpoint is not None
        auth, api = self.walk.at.feature.auth, self.walk.at.feature.api
        assert auth is not None
        assert api is not None
        found = [example for example in examples_of(self.walk.at) if example.name in self.answers]
        installed = "requests" in self.walk.outcomes
        store = self.walk.workshop.store
        requests = decode(store.read(self.walk.output("requests", "requests"))) if installed else Requests()
        done = check_contract(
            self.walk.at.text(auth.openapi),
            auth.openapi,
            found,
            self.answers,
            requests,
            Candidate(self.endpoint, handler_of(api), self._printed, self.live.identity),
            log,
            cancel,
        )
        extra = f"pip install 'mawasu-{__version__}-py3-none-any.whl[contract]'"
        return done if installed else f"{done}; no others were made: that needs {extra}"

    def _grant(self, log: Log, cancel: Cancel) -> str:
        self.live.services.grant(self.revision)
        return "the gateway, and nobody else, may call it"

    def _switch(self, log: Log, cancel: Cancel) -> str:
        assert self.endpoint is not None
        site = site_of(self.walk.at, self.walk.environment, self.endpoint)
        self._warm(log)  # before: it takes its time, and nothing is settled yet
        self._intend()
        current = self.walk.state().environments.get(self.walk.environment)
        self.previous = current.serving.revision if current and current.serving else ""
        self.live.sites.put(site)  # first: what the gateway refuses changes nothing
        self.live.services.promote(self.revision)
        self.switched = True
        self.record(Switched(self.build, self.walk.environment, self.release, self.revision, self.previous))
        return f"{site.prefix} serves it"

    def _warm(self, log: Log) -> None:
        api = self.walk.at.feature.api
        current = self.walk.state().environments.get(self.walk.environment)
        if api is None or api.cache is None or not api.cache.warm or current is None or current.serving is None:
            return
        if current.serving.revision != self.revision:
            count = self.live.services.warm(self.revision, current.serving.revision)
            log.write(f"asked it {count} of the most asked requests")

    def _intend(self) -> None:
        """Say that this build will switch: after another one that is at it, and never after a newer one."""
        intended = SwitchIntended(self.build, self.walk.environment, self.release, self.revision)
        while True:
            state = self.walk.state()
            current = state.environments.get(self.walk.environment)
            for other in (current.serving, current.intended) if current else ():
                if other is not None and other.build > self.build:
                    hint = "push again what should be served"
                    raise BlockedError(f"build {other.build} is newer, and took {self.walk.environment}", hint)
            busy = current.intended if current else None
            if busy is not None and busy.build != self.build and self.live.at_it(state.builds[busy.build]):
                time.sleep(TURN)
                continue
            try:
                self.record(intended, unmoved(state))
                return
            except MovedError:
                continue

    def _drain(self, log: Log, cancel: Cancel) -> str:
        if not self.previous or self.previous == self.revision:
            return "nothing to drain"
        self.live.services.stop(self.previous, drain=DRAIN)
        return f"{self.previous} finished what it had and left"


def service_spec(
    at: CommitOf,
    environment: str,
    release: Digest,
    image: Image,
    model: Digest | None,
    secrets: StepSecrets,
    *,
    preview: bool,
    revision: str = "",
    log: Log | None = None,
) -> ServiceSpec:
    """What every replica of a revision runs: the same from the same commit, so that a restart finds it again."""
    api = at.feature.api
    assert api is not None
    names, taken = operations(at, log)
    return ServiceSpec(
        revision=revision,
        feature=at.feature.name,
        environment=environment,
        release=release,
        source=at.source(*api.paths),
        image=image,
        handler=handler_of(api),
        model=model,
        resources=resources(api.resources, api.timeout),
        replicas=api.scale.min,
        most=max(1, api.scale.min, api.scale.max),
        preview=preview,
        secrets=secrets(api.secrets, "api"),
        operations=names,
        bodies=taken if api.handler else "",
    )


def handler_of(api: Api) -> Handler:
    return Handler(
        target=api.handler or "",
        command=api.command or "",
        max_batch=api.batch.max_size,
        cache=api.cache,
        workers=api.workers.count or max(1, int(api.resources.cpu)),
        share=api.workers.share,
        predictions=api.predictions,
    )


def operations(at: CommitOf, log: Log | None = None) -> tuple[tuple[str, ...], str]:
    """Of the OpenAPI file, in the order in which a gateway tries them, and the bodies that they take (`bodies`).

    None of a faulty one: the contract says why.
    """
    auth = at.feature.auth
    if auth is None:
        return (), ""
    try:
        reading = read(at.text(auth.openapi), auth.openapi)
    except SpecError:
        return (), ""
    found = sorted(reading.api.operations, key=lambda one: precedence(one.path))
    names = tuple(f"{one.method.upper()} {one.path}" for one in found)
    try:
        return names, bodies(reading)
    except TooLargeError as error:
        if log is not None:
            log.write(f"the server does not check the bodies of requests: their schemas are {error}")
        return names, ""


def model_of(walk: Walk) -> Digest | None:
    return walk.output("train", "MAWASU_MODEL") if walk.at.feature.training else None


def examples_of(at: CommitOf) -> list[Example]:
    api = at.feature.api
    if api is None or api.examples is None:
        return []
    return list(parse_examples(at.text(api.examples), file=api.examples))


def site_of(at: CommitOf, environment: str, endpoint: Endpoint) -> Site:
    auth = at.feature.auth
    assert auth is not None, "validation refuses an api without auth"
    docs = has_docs(auth, environment)
    return Site(at.feature.name, environment, at.text(auth.openapi), auth.openapi, endpoint, docs=docs)


def has_docs(auth: Auth, environment: str) -> bool:
    """Whether an environment shows its document: as the file says, and where it says nothing all but production do."""
    return environment != PRODUCTION if auth.docs is None else auth.docs
