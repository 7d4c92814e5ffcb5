"""From `git push` to the first answer of the new version through the gateway, and where the time goes.

The clock starts before `git push`; a caller asks the gateway with an API key all the while, and stops it with the first
answer that carries the new version's stamp. The stages are the times in the ledger's entries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bench import feature
from bench.report import Report, milliseconds
from bench.world import Caller, Repo, World, living, run
from mawasu.ledger.entries import BuildFinished, BuildPlanned, BuildQueued, Entry, StepFinished, StepStarted, Switched
from mawasu.ledger.ledger import Ledger

PAUSE = 0.002  # seconds between two questions to the gateway
PATIENCE = 60.0
GOALS = {"everything": 3000.0, "api only": 2000.0, "revert": 2000.0}  # ms
DECIDED = 200.0  # ms


@dataclass
class Pushed:
    """One push: seconds from its start to its first new answer and to the end of `git push`, and by stage."""

    served: float
    returned: float
    stages: dict[str, float]


@dataclass
class Bench:
    """One feature in a mawasu that is up, and all pushes of it so far by scenario."""

    world: World
    kind: str
    repo: Repo
    caller: Caller
    ledger: Ledger
    pushes: dict[str, list[Pushed]] = field(default_factory=dict)
    stamp: int = 0

    def next_stamp(self) -> str:
        self.stamp += 1
        return str(self.stamp)

    def push(self, scenario: str, part: str, stamp: str) -> None:
        """Push what is committed, and ask until `part` of an answer is `stamp`."""
        last = self.ledger.state().number
        began, clock = time.time(), time.perf_counter()
        process = self.repo.start_push()
        served = 0.0
        while not served:
            status, body = self.caller.ask()
            if status == 200 and body[part] == stamp:
                served = time.perf_counter() - clock
            elif time.perf_counter() - clock > PATIENCE or (process.poll() or 0) > 0:
                raise SystemExit(f"{scenario}: never served; the gateway says {status} {body}")
            else:
                time.sleep(PAUSE)
        answered = time.time()
        process.communicate()
        returned = time.perf_counter() - clock
        stages = by_stage(list(self.ledger.entries(last + 1)), began, answered)
        self.pushes.setdefault(scenario, []).append(Pushed(served, returned, stages))

    def decide(self) -> tuple[float, float, float]:
        """Push documentation: seconds from queued to finished, of the whole push, and of one without hooks."""
        self.repo.commit({"README.md": f"About it, {self.next_stamp()}."})
        last = self.ledger.state().number
        pushing = self.repo.push()
        times = {type(entry.body): entry.time for entry in self.ledger.entries(last + 1)}
        return times[BuildFinished] - times[BuildQueued], pushing, self.repo.push("plain")


def by_stage(entries: Iterable[Entry], began: float, answered: float) -> dict[str, float]:
    """Seconds between the entries of one build; what follows the switch is not on the way to the answer."""
    stages: dict[str, float] = {}
    at = began
    for entry in entries:
        match entry.body:
            case BuildQueued():
                name = "git push → queued (git, two hooks)"
            case BuildPlanned():
                name = "→ planned"
            case StepStarted(step=step):
                name = "between steps"
            case StepFinished(step=step):
                name = f"→ {step}"
            case Switched():
                name = "→ switch"
            case _:
                continue
        stages[name] = stages.get(name, 0.0) + max(0.0, entry.time - at)
        at = entry.time
        if isinstance(entry.body, Switched):
            stages["→ first new answer"] = max(0.0, answered - at)
            return stages
    raise SystemExit("the push was not served")


def measure(quick: bool) -> list[Report]:
    reports: list[Report] = []
    with living() as world:
        for kind in ("plain",) if quick else ("plain", "sklearn"):
            bench = _begin(world, kind)
            times = 1 if quick else 7
            _scenarios(bench, times)
            reports += _tell(bench, [bench.decide() for _ in range(times)])
    return reports


def _begin(world: World, kind: str) -> Bench:
    name = f"bench-{kind}"
    files = feature.project(name, kind)
    repo = world.repo(name, files)
    if kind == "sklearn":
        run(["uv", "lock", "-q"], repo.path, world.environ)
        repo.commit({}, "lock")
    bench = Bench(world, kind, repo, world.caller(name), world.ledger(name))
    repo.push("plain")
    if repo.push() > PATIENCE * 0.9 or bench.caller.ask()[0] != 200:  # the push leaves a long first build of an image
        _eventually(lambda: bench.caller.ask()[0] == 200)
    return bench


def _eventually(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 10 * PATIENCE
    while not true():
        if time.monotonic() > give_up:
            raise SystemExit("the first version was never served")
        time.sleep(0.1)


def _scenarios(bench: Bench, times: int) -> None:
    for _ in range(times):
        stamp = bench.next_stamp()
        bench.repo.commit(feature.train(bench.kind, stamp))
        bench.push("everything", "model", stamp)

        before, stamp = bench.caller.ask()[1]["api"], bench.next_stamp()
        bench.repo.commit(feature.handler(bench.kind, stamp))
        bench.push("api only", "api", stamp)
        bench.repo.git("revert", "--no-edit", "HEAD")
        bench.push("revert", "api", before)


_SAYS: Mapping[str, str] = {
    "everything": "a push that trains: first new answer",
    "api only": "a push that touches only api/: first new answer",
    "revert": "a push of `git revert`: first new answer",
}


def _tell(bench: Bench, decided: list[tuple[float, float, float]]) -> list[Report]:
    title = {"plain": "standard library only", "sklearn": "with scikit-learn in the image (its imports are the user's)"}
    whole = Report(f"Push → answer, {title[bench.kind]}", ["image warm, training takes no time"])
    goals = GOALS if bench.kind == "plain" else {}
    for scenario, pushes in bench.pushes.items():
        whole.add(_SAYS[scenario], milliseconds([push.served for push in pushes]), limit=goals.get(scenario))
    whole.add(
        "… and until `git push` itself returns (trains)",
        milliseconds([push.returned for push in bench.pushes["everything"]]),
    )
    alone = [pushing - plain for _, pushing, plain in decided]
    limit = DECIDED if bench.kind == "plain" else None
    whole.add("docs only: queued → decided", milliseconds([ledger for ledger, _, _ in decided]), limit=limit)
    whole.add("docs only: whole `git push`, less one without hooks", milliseconds(alone), limit=limit)
    whole.add(
        "ceiling: `git push` to a bare repository without hooks", milliseconds([plain for _, _, plain in decided])
    )
    return [whole, *(_stages(scenario, pushes) for scenario, pushes in bench.pushes.items())]


def _stages(scenario: str, pushes: list[Pushed]) -> Report:
    report = Report(f"Where it goes: {scenario}")
    for name in pushes[-1].stages:
        report.add(name, milliseconds([push.stages.get(name, 0.0) for push in pushes]))
    report.add("sum of medians", [sum(row.median for row in report.rows)])
    return report
