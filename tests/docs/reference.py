"""What in docs/mawasu-yaml.md is made from the language and its examples.

`python -m tests.docs.reference` renews it.
"""

from __future__ import annotations

from collections.abc import Iterator

from mawasu.spec.kinds import Key, ListOf, MapOf, NotBuilt, Section
from mawasu.spec.language import MAWASU_YAML
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "mawasu-yaml.md"
KEYS = ("<!-- keys: made by tests/docs/reference.py -->", "<!-- /keys -->")
EXAMPLE = ("<!-- example: made by tests/docs/reference.py from spec/examples/full.yaml -->", "<!-- /example -->")


def every_key(section: Section = MAWASU_YAML, path: str = "") -> Iterator[tuple[str, Key]]:
    """Every key by its dotted path; `<name>` stands for a name that the file chooses."""
    for name, key in section.keys.items():
        here = f"{path}{name}"
        yield here, key
        match key.kind:
            case Section() as inner:
                yield from every_key(inner, f"{here}.")
            case MapOf(value=Section() as inner):
                yield from every_key(inner, f"{here}.<name>.")


def expects(key: Key) -> str:
    match key.kind:
        case NotBuilt():
            return "—"
        case Section():
            return "a section"
        case ListOf() as kind:
            return kind.expects
        case kind:
            return kind.expects


def table() -> str:
    rows = ["| key | what stands there | |", "|---|---|---|"]
    for path, key in every_key():
        said = key.doc + (" **Required.**" if key.required else "")
        rows.append(f"| `{path}` | {_cell(expects(key))} | {_cell(said)} |")
    return "\n".join(rows)


def refused() -> list[str]:
    """Keys that are known and not built yet."""
    return [path for path, key in every_key() if isinstance(key.kind, NotBuilt)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def renewed(page: str) -> str:
    """The page with both made parts as they should be."""
    example = (ROOT / "spec" / "examples" / "full.yaml").read_text(encoding="utf-8")
    return _between(_between(page, KEYS, table()), EXAMPLE, f"```yaml mawasu.yaml\n{example}```")


def _between(page: str, marks: tuple[str, str], text: str) -> str:
    before, begin, rest = page.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    assert begin, f"the page lost its mark {marks[0]}"
    assert end, f"the page lost its mark {marks[1]}"
    return f"{before}{begin}\n{text}\n{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
