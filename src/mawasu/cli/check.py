"""`mawasu check`: every fault of every mawasu.yaml of the checkout, at once."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs


def register(verbs: Verbs) -> None:
    verb = verbs.add("check", check, "Check every mawasu.yaml of this checkout; show all faults at once.")
    verb.flag("--schema", dest="schema", help="Print the JSON Schema for editors instead.")
    verb.json()


def check(schema: bool, as_json: bool) -> None:
    from mawasu.cli.output import emit, say
    from mawasu.errors import SpecError
    from mawasu.executor.documents import faults_of

    if schema:
        from mawasu.spec.schema import schema as the_schema

        emit(the_schema())
        return
    from mawasu.cli.tree import working_features

    faults: list[object] = []
    names: list[str] = []
    for file, at in working_features():
        if isinstance(at, SpecError):
            faults += at.faults
        else:
            faults += faults_of(at)
            names.append(f"{file}: feature `{at.feature.name}` is fine")
    if as_json:
        emit({"faults": [str(fault) for fault in faults], "fine": names})
        raise SystemExit(3 if faults else 0)
    for name in names if not faults else []:
        say(name)
    if faults:
        raise SpecError(tuple(faults))
