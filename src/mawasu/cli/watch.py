"""`mawasu watch`: poll any git remote, and build what is pushed there."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("watch", help="Poll a git remote and take its pushes as if they were made here.")(watch)


def watch(
    url: Annotated[str, typer.Argument(help="Any URL that `git fetch` takes.")],
    project: Annotated[
        str | None, typer.Option("--project", help="The project's name (default: from the URL).")
    ] = None,
    every: Annotated[float, typer.Option("--every", min=1.0, help="Seconds between looks.")] = 60.0,
    stop: Annotated[bool, typer.Option("--stop", help="Watch it no longer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
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
