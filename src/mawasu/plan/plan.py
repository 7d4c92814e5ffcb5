"""`plan`: the steps of one push over all parts, in order, ending in one switch."""

from __future__ import annotations

from collections.abc import Mapping

from mawasu.plan import keys
from mawasu.plan.known import Champion, Known
from mawasu.plan.steps import Gate, Plan, Step, StepKind
from mawasu.plan.why import why_it_runs
from mawasu.spec.feature import Api, Feature, Training
from mawasu.words import Digest, Tree

Keys = dict[str, Digest]


def plan(feature: Feature, tree: Tree, environment: str, known: Known, *, preview: bool = False) -> Plan:
    """Decide the steps of one build.

    `tree` is the whole repository's at the pushed commit; `environment` is where its branch goes ("" for nowhere:
    then the plan ends at the verdict). Raises KeyError only for a data set without a snapshot, which callers check.
    """
    return _Planner(feature, tree.under(feature.root), environment, known, preview).plan()


class _Planner:
    """Collects steps; each method adds the steps of one stage and remembers their keys."""

    def __init__(self, feature: Feature, tree: Tree, environment: str, known: Known, preview: bool) -> None:
        self.feature, self.tree, self.environment, self.known, self.preview = feature, tree, environment, known, preview
        self.steps: list[Step] = []
        self.keys: Keys = {}

    def plan(self) -> Plan:
        gate = Gate.NONE
        if self.feature.training is not None:
            self._data(self._wanted_data())
            self._image("training", self.feature.training)
            self._add(StepKind.TRAIN, "train", keys.train(self.feature, self.tree, self._of("data/", "image/training")))
        if self.feature.api is not None:
            self._image("api", self.feature.api)
        release = self._release_key()
        if self.feature.evaluation is not None:
            gate = self._judge(release)
        switches = bool(self.environment) and release is not None and release != self.known.served
        if release is not None and switches:
            if self.known.engine and self.feature.auth is not None:
                requests = keys.requests(self.feature, self.tree, self.known.engine)
                self._add(StepKind.REQUESTS, "requests", requests)
            self._deploy(release)
        return Plan(
            feature=self.feature.name,
            environment=self.environment,
            preview=self.preview,
            steps=tuple(self.steps),
            gate=gate,
            release=release,
            switches=switches,
        )

    # ------------------------------------------------------------------------------------------------ stages

    def _wanted_data(self) -> list[str]:
        names = list(self.feature.training.data) if self.feature.training else []
        if self.feature.evaluation and self.feature.evaluation.data not in names:
            names.append(self.feature.evaluation.data)
        return names

    def _data(self, names: list[str]) -> None:
        slices = self.feature.evaluation.gate.slices if self.feature.evaluation else ()
        for data_set in self.feature.data:
            if data_set.name in names:
                inputs = keys.data(data_set, self.known.snapshots[data_set.name], slices)
                self._add(StepKind.DATA, f"data/{data_set.name}", inputs)

    def _image(self, name: str, part: Training | Api) -> None:
        inputs = keys.image(part, self.tree, self.known.architecture, self.known.python)
        self._add(StepKind.IMAGE, f"image/{name}", inputs)

    def _judge(self, release: Digest | None) -> Gate:
        """Evaluation and verdict; neither for a release served here before, nor for the champion's very model."""
        if release is not None and release in self.known.served_before:
            return Gate.SERVED
        evaluation = self.feature.evaluation
        assert evaluation is not None
        data = f"data/{evaluation.data}"
        inputs = keys.evaluate(self.feature, self.tree, self._of(data, "image/training", "train"))
        champion, gate = self.known.champion, Gate.FIRST
        if champion is not None and champion.feature.evaluation is not None:
            image, champions = self._champion(champion, data)
            if keys.key_of(StepKind.EVALUATE, champions) == keys.key_of(StepKind.EVALUATE, inputs):
                return Gate.SAME
            gate = Gate.COMPARE
        self._add(StepKind.EVALUATE, "evaluate", inputs)
        if gate is Gate.COMPARE:
            if keys.key_of(StepKind.IMAGE, image) != self.keys["image/training"]:
                self._add(StepKind.IMAGE, "image/champion", image)
            self._add(StepKind.EVALUATE, "evaluate/champion", champions)
        self._add(StepKind.JUDGE, "judge", keys.judge(self.feature, gate, self._of(data, "evaluate", "evaluate/")))
        return gate

    def _champion(self, champion: Champion, data: str) -> tuple[keys.Inputs, keys.Inputs]:
        """Inputs of the champion's image and evaluation: the same rows, scored by its own commit's code and image."""
        tree = champion.tree.under(champion.feature.root)
        assert champion.feature.training is not None, "whoever is judged was trained"
        image = keys.image(champion.feature.training, tree, self.known.architecture, self.known.python)
        before = {
            data: self.keys[data],
            "image/training": keys.key_of(StepKind.IMAGE, image),
            "train": champion.train,
        }
        return image, keys.evaluate(champion.feature, tree, before)

    def _release_key(self) -> Digest | None:
        if self.feature.api is None:
            return None
        return keys.key_of("release", keys.release(self.feature, self.tree, self._of("train", "image/api")))

    def _deploy(self, release: Digest) -> None:
        """The one switch. These act on what is live, so they are never taken from an earlier build."""
        why = "the environment serves nothing yet" if self.known.served is None else "the release is another one"
        kinds = [
            StepKind.REGISTER,
            StepKind.START,
            StepKind.EXAMPLES,
            StepKind.CONTRACT,
            StepKind.GRANT,
            StepKind.SWITCH,
        ]
        if self.known.served is not None:
            kinds.append(StepKind.DRAIN)
        if self.feature.api is None or self.feature.api.examples is None:
            kinds.remove(StepKind.EXAMPLES)
        for kind in kinds:
            inputs = {"release": release, "environment": self.environment}
            reason = f"runs because {why}"
            self.steps.append(Step(kind=kind, name=kind, key=keys.key_of(kind, inputs), inputs=inputs, why=reason))

    # ------------------------------------------------------------------------------------------------ helpers

    def _of(self, *names: str) -> Keys:
        """Keys of the steps so far that have one of these names (or begin with it, where it ends with `/`)."""
        return {
            step: key
            for step, key in self.keys.items()
            if any(step == name or (name.endswith("/") and step.startswith(name)) for name in names)
        }

    def _add(self, kind: StepKind, name: str, inputs: Mapping[str, str]) -> None:
        key = keys.key_of(kind, inputs)
        self.keys[name] = key
        reuse = self.known.done.get(key)
        if reuse is not None:
            step = Step(kind, name, key, dict(inputs), f"reused from build {reuse.build}", reused=reuse.build)
        else:
            step = Step(kind, name, key, dict(inputs), why_it_runs(inputs, self.known.previous.get(name)))
        self.steps.append(step)
