"""A plan as a value: it can be stored, compared and shown."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from mawasu.words import Digest, Value


class StepKind(enum.StrEnum):
    """In the order of a build (design §5.5)."""

    DATA = "data"
    IMAGE = "image"
    TRAIN = "train"
    EVALUATE = "evaluate"
    JUDGE = "judge"
    REQUESTS = "requests"
    REGISTER = "register"
    START = "start"
    EXAMPLES = "examples"
    CONTRACT = "contract"
    GRANT = "grant"
    SWITCH = "switch"
    DRAIN = "drain"

    @property
    def pure(self) -> bool:
        """A function of its key alone, so its outcome can be reused; the others act on what is live."""
        return self in _PURE


_PURE = frozenset((StepKind.DATA, StepKind.IMAGE, StepKind.TRAIN, StepKind.EVALUATE, StepKind.JUDGE, StepKind.REQUESTS))


class Gate(enum.StrEnum):
    """How the judge comes to its verdict."""

    COMPARE = "compare"  # with the champion, on the same rows
    FIRST = "first"  # no champion: thresholds alone
    SAME = "same"  # the champion's own model
    SERVED = "served"  # the environment has served this release before
    NONE = "none"  # the feature has no evaluation


NOT_JUDGED = {
    Gate.SAME: "not needed: the champion is this very model",
    Gate.SERVED: "not needed: this release was served here before",
}


class Step(Value, frozen=True):
    """One step. `inputs` is what its key is made of, by a name people know; `why` says why it runs, or does not."""

    kind: StepKind
    name: str
    key: Digest
    inputs: Mapping[str, str]
    why: str
    reused: int | None = None  # the build whose outcome is taken

    @property
    def runs(self) -> bool:
        return self.reused is None


class Plan(Value, frozen=True):
    """All steps of one build, in order. `release` is None for a feature without an api."""

    feature: str
    environment: str
    preview: bool
    steps: tuple[Step, ...]
    gate: Gate
    release: Digest | None
    switches: bool  # the environment will serve another release than now

    @property
    def nothing(self) -> bool:
        """Nothing that the feature reads has changed: the push costs nothing."""
        return not self.switches and not any(step.runs for step in self.steps)

    def step(self, name: str) -> Step | None:
        return next((step for step in self.steps if step.name == name), None)

    def lines(self) -> list[str]:
        """The plan for people, a line a step."""
        if self.nothing:
            return ["nothing to do: nothing that this feature reads has changed"]
        pure = [step for step in self.steps if step.kind.pure]
        width = max((len(step.name) for step in pure), default=0)
        lines = [f"{'▶' if step.runs else '·'} {step.name:<{width}}  {step.why}" for step in pure]
        if self.gate in NOT_JUDGED:
            lines.append(f"· {'judge':<{width}}  {NOT_JUDGED[self.gate]}")
        live = [step for step in self.steps if not step.kind.pure]
        if live:
            lines.append(f"▶ {' → '.join(step.name for step in live)}  {live[0].why}")
        return lines
