"""`mawasu init`: a first feature that works, to change into one's own."""

from __future__ import annotations

from pathlib import Path

from mawasu.cli.arguments import Verbs


def register(verbs: Verbs) -> None:
    verb = verbs.add("init", init, "Write a small working feature here, or into a new folder.")
    verb.add_argument("folder", nargs="?", type=Path, default=Path(), help="Where (default: here).")
    verb.add_argument("--no-lock", dest="lock", action="store_false", help="Do not resolve the packages into uv.lock.")
    verb.json()


def init(folder: Path, lock: bool, as_json: bool) -> None:
    from mawasu.cli.output import emit, say
    from mawasu.cli.template_files import template

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in template().items():
        target = folder / name
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        written.append(name)
    _git(folder)
    if lock:
        if not as_json:
            say("resolving packages …")
        _lock(folder)
        written.append("uv.lock")
    if as_json:
        emit({"folder": str(folder.absolute()), "written": written})
        return
    for name in written:
        say(f"  {folder / name}")
    go = f"cd {folder} && " if folder != Path() else ""
    say(f"next:  {go}git add -A && git commit -m 'First feature'  ·  mawasu up  ·  git push mawasu main")


def _git(folder: Path) -> None:
    import subprocess

    inside = subprocess.run(["git", "-C", folder, "rev-parse", "--git-dir"], capture_output=True, check=False)
    if inside.returncode != 0:
        subprocess.run(["git", "-C", folder, "init", "-q", "-b", "main"], check=True)


def _lock(folder: Path) -> None:
    import subprocess

    import uv

    from mawasu.errors import PlatformError

    if (folder / "uv.lock").exists():
        return
    done = subprocess.run(
        [uv.find_uv_bin(), "lock", "--directory", folder], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise PlatformError(f"{folder}: the packages cannot be resolved: {reason[0]}", "mend it, then `uv lock` there")
