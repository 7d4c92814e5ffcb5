"""`mawasu watch`: poll any git remote, and build what is pushed there."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs, seconds


def register(verbs: Verbs) -> None:
    verb = verbs.add("watch", watch, "Poll a git remote and take its pushes as if they were made here.")
    verb.add_argument("url", help="Any URL that `git fetch` takes.")
    verb.add_argument("--project", help="The project's name (default: from the URL).")
    verb.add_argument("--every", type=seconds(1.0), default=60.0, help="Seconds between looks (60).")
    verb.flag("--stop", dest="stop", help="Watch it no longer.")
    verb.json()


def watch(url: str, project: str | None, every: float, stop: bool, as_json: bool) -> None:
    from mawasu.cli.context import home, is_up
    from mawasu.cli.output import emit, say
    from mawasu.triggers.projects import Watch, project_name, unwatch_project, watch_project
    from mawasu.triggers.watch import check_url

    name = project or project_name(url.rstrip("/").rpartition("/")[2].removesuffix(".git"))
    if stop:
        unwatch_project(home(), name)
    else:
        watch_project(home(), name, Watch(check_url(url), every))
    if as_json:
        emit({"project": name, "url": url, "every": None if stop else every})
    elif stop:
        say(f"{name} is watched no longer")
    else:
        say(f"{name}: {url} is looked at every {every:.0f} s" + ("" if is_up() else " once `mawasu up` runs"))
