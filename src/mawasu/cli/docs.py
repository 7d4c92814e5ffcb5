"""`mawasu docs`: the manual, in the terminal."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs


def register(verbs: Verbs) -> None:
    verb = verbs.add("docs", docs, "List the pages of the manual, or print one.")
    verb.add_argument("page", nargs="?", help="A page's name.")
    verb.json()


def docs(page: str | None, as_json: bool) -> None:
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
