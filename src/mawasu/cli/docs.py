"""`mawasu docs`: the manual, in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("docs", help="List the pages of the manual, or print one.")(docs)


def docs(
    page: Annotated[str | None, typer.Argument(help="A page's name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    import difflib
    import sys

    from mawasu.cli.output import emit, say, table
    from mawasu.errors import UsageError

    pages = _pages()
    if page is None:
        titles = {name: text.partition("\n")[0].lstrip("# ") for name, text in pages.items()}
        if as_json:
            emit(titles)
        else:
            table(["page", "about"], list(titles.items()), "no pages")
        return
    if page not in pages:
        near = difflib.get_close_matches(page, pages, 1)
        raise UsageError(f"no page `{page}`", f"did you mean `{near[0]}`?" if near else "`mawasu docs` lists them")
    if as_json:
        emit({page: pages[page]})
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(pages[page]))
    else:
        say(pages[page])


def _pages() -> dict[str, str]:
    """Pages by name: shipped inside the wheel, or beside the source in a checkout."""
    from importlib.resources import files
    from pathlib import Path

    shipped = Path(str(files("mawasu"))) / "docs"
    root = shipped if shipped.is_dir() else Path(__file__).parents[3] / "docs"
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(root.glob("*.md"))}
