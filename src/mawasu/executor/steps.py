"""Doing one step of a plan: data, images, training, evaluation, verdict. What is live stands in `deploy.py`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from mawasu import data, judge
from mawasu.errors import MawasuError, StepError
from mawasu.executor.commit import CommitOf
from mawasu.git.checkout import checkout
from mawasu.home import Home
from mawasu.ledger.fold import State
from mawasu.plan import Gate, Known, Plan, Step, StepKind
from mawasu.plan.keys import image as image_inputs
from mawasu.plan.keys import image_files, key_of
from mawasu.ports import Cancel, Log, Workshop
from mawasu.spec.feature import Api, Limits, Training
from mawasu.words import Digest, Image, ImageSpec, JobSpec, Mount, Outcome, Output, Resources, Result

StepSecrets = Callable[[Sequence[str], Literal["training", "api"]], Mapping[str, str]]
"""Names, step → values, in the environment of the build."""


@dataclass
class Walk:
    """What the steps of one build share: the commit, the plan, and the outcomes so far by step name."""

    at: CommitOf
    champion: CommitOf | None
    plan: Plan
    known: Known
    state: Callable[[], State]
    workshop: Workshop
    home: Home
    reach: data.Reach
    name: str  # feature/branch/commit
    environment: str
    outcomes: dict[str, Outcome]
    secrets: StepSecrets

    def output(self, step: str, what: str) -> Digest:
        return self.outcomes[step].outputs[what]


def do(step: Step, walk: Walk, log: Log, cancel: Cancel) -> Outcome:
    """Run one step that is a pure function of its key. Expected errors become its outcome."""
    began = time.monotonic()
    try:
        outcome = _DOERS[step.kind](step, walk, log, cancel)
    except MawasuError as error:
        outcome = Outcome(Result.FAILED, message=error.message, hint=error.hint)
        log.write(str(error))
    return msgspec.structs.replace(outcome, seconds=round(time.monotonic() - began, 3))


def _data(step: Step, walk: Walk, log: Log, cancel: Cancel) -> Outcome:
    name = step.name.removeprefix("data/")
    data_set = next(found for found in walk.at.feature.data if found.name == name)
    evaluation = walk.at.feature.evaluation
    slices = evaluation.gate.slices if evaluation else ()
    walk.home.workspaces.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=walk.home.workspaces) as temporary:
        workspace = Path(temporary)
        root = None
        if data_set.source.files:
            source = walk.at.data_source(data_set)
            checkout(source.repo, source.tree, workspace / "files")
            root = workspace / "files" / source.root
        locked = walk.at.locked().get(name)
        store = walk.workshop.store
        snapshot = data.make_snapshot(data_set, root, store, locked, walk.reach)
        outputs = data.split_snapshot(store, snapshot, data_set, slices, workspace)
    return Outcome(Result.OK, outputs={"snapshot": snapshot, **outputs})


def image_spec(at: CommitOf, part: Training | Api, known: Known, name: str) -> ImageSpec:
    key = key_of(StepKind.IMAGE, image_inputs(part, at.own, known.architecture, known.python))
    files = {path: at.bytes(path) for path in image_files(part, at.own)}
    return ImageSpec(key=key, lock=part.lock or "", dockerfile=part.dockerfile or "", files=files, name=name)


def ensure_image(at: CommitOf, part: str, walk: Walk, log: Log, cancel: Cancel) -> Image:
    """The image of a part, made again if the cache was deleted since the ledger heard of it."""
    section = at.feature.training if part == "training" else at.feature.api
    assert section is not None, "an image is planned only for a part that is there"
    return walk.workshop.images.ensure(image_spec(at, section, walk.known, f"{walk.name}/{part}"), log, cancel)


def _image(step: Step, walk: Walk, log: Log, cancel: Cancel) -> Outcome:
    part = step.name.removeprefix("image/")
    at, part = (walk.champion, "training") if part == "champion" else (walk.at, part)
    assert at is not None, "an image of the champion is planned only where there is one"
    ensure_image(at, part, walk, log, cancel)
    return Outcome(Result.OK)


def _train(step: Step, walk: Walk, log: Log, cancel: Cancel) -> Outcome:
    part = walk.at.feature.training
    assert part is not None
    job = JobSpec(
        name=f"{walk.name}/train",
        key=step.key,
        preview=walk.plan.preview,
        command=part.command,
        source=walk.at.source(*part.paths),
        image=ensure_image(walk.at, "training", walk, log, cancel),
        resources=resources(part.resources, part.timeout),
        mounts=tuple(Mount("MAWASU_DATA", walk.output(f"data/{name}", "train"), name) for name in part.data),
        outputs=(Output("MAWASU_MODEL", also=("AIP_MODEL_DIR",)), Output("MAWASU_METRICS", "file", required=False)),
        params=part.params,
        seed=part.seed,
        secrets=walk.secrets(part.secrets, "training"),
    )
    return walk.workshop.jobs.run(job, log, cancel)


def _evaluate(step: Step, walk: Walk, log: Log, cancel: Cancel) -> Outcome:
    """Score the holdout rows: by the pushed commit, or by the champion's own code, image and model."""
    if step.name == "evaluate":
        at, model = walk.at, walk.output("train", "MAWASU_MODEL")
    else:
        assert walk.champion is not None
        assert walk.known.champion is not None
        at = walk.champion
        trained = walk.state().done.get(walk.known.champion.train)
        if trained is None:
            raise StepError("the champion's model is not in the ledger", "run `mawasu verify`")
        model = trained.outcome.outputs["MAWASU_MODEL"]
    part, training = at.feature.evaluation, at.feature.training
    assert part is not None
    assert training is not None
    assert walk.at.feature.evaluation is not None
    rows = walk.at.feature.evaluation.data  # the challenger's rows, for both
    job = JobSpec(
        name=f"{walk.name}/{step.name}",
        key=step.key,
        preview=walk.plan.preview,
        command=part.command,
        source=at.source(*part.paths),
        image=ensure_image(at, "training", walk, log, cancel),
        resources=resources(part.resources, part.timeout),
        mounts=(Mount("MAWASU_DATA", walk.output(f"data/{rows}", "evaluate"), part.data), Mount("MAWASU_MODEL", model)),
        outputs=(Output("MAWASU_PREDICTIONS", "file"),),
        params=training.params,
        seed=training.seed,
    )
    outcome = walk.workshop.jobs.run(job, log, cancel)
    if outcome.result is Result.OK:  # faulty predictions are this step's fault, not the judge's
        labels = walk.output(f"data/{rows}", "labels")
        data.read_scores(walk.workshop.store, labels, outcome.outputs["MAWASU_PREDICTIONS"], ())
    return outcome


def _judge(step: Step, walk: Walk, log: Log, cancel: Cancel) -> Outcome:
    part = walk.at.feature.evaluation
    assert part is not None
    store, labels = walk.workshop.store, walk.output(f"data/{part.data}", "labels")
    challenger = data.read_scores(store, labels, walk.output("evaluate", "MAWASU_PREDICTIONS"), part.gate.slices)
    if walk.plan.gate is Gate.COMPARE:
        predictions = walk.output("evaluate/champion", "MAWASU_PREDICTIONS")
        champion = data.read_scores(store, labels, predictions, part.gate.slices)
        verdict = judge.compare(
            part.metric, challenger.label, challenger.score, champion.score, part.gate, challenger.slices
        )
    else:
        wanted = {part.metric, *part.gate.first}
        values = judge.measure(sorted(wanted), challenger.label, challenger.score)
        verdict = judge.first(values, part.gate.first, len(challenger.label))
    log.write(verdict.reason)
    return Outcome(Result.OK, message=verdict.reason, facts={"verdict": msgspec.to_builtins(verdict)})


def resources(limits: Limits, timeout: float) -> Resources:
    return Resources(timeout=timeout, **msgspec.structs.asdict(limits))


_DOERS: dict[StepKind, Callable[[Step, Walk, Log, Cancel], Outcome]] = {
    StepKind.DATA: _data,
    StepKind.IMAGE: _image,
    StepKind.TRAIN: _train,
    StepKind.EVALUATE: _evaluate,
    StepKind.JUDGE: _judge,
}
