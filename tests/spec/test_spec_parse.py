from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.spec.parse import DEEPEST, LONGEST_TEXT, Document, parse


def only_fault(text: str) -> str:
    document = parse(text)
    assert len(document.faults) == 1, document.faults
    return str(document.faults[0])


def test_every_key_and_value_knows_its_line_and_column() -> None:
    root = parse("feature: a\ntraining:\n  paths:\n    - x\n    - {y: 1}\n").root
    assert root is not None
    item = root.find("training", "paths", 1, "y")
    assert item is not None
    assert (item.line, item.column, item.key_line, item.key_column) == (5, 11, 5, 8)
    section = root.find("training")
    assert section is not None
    assert section.place == (2, 1)
    assert root.find("training", "paths", 7) is None
    assert root.find("feature", "x") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("2026-01-31", "2026-01-31"),
        ("1:30", "1:30"),
        ("true", True),
        ("0x1f", 31),
        ("0o17", 15),
        ("017", 17),
        ("-1.5e3", -1500.0),
        (".5", 0.5),
        ("~", None),
        ("", None),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("9" * 5000, float("inf")),
        ("-", "-"),
        ("é", "é"),
    ],
)
def test_plain_scalars_are_read_by_the_core_schema(text: str, value: object) -> None:
    root = parse(f"key: {text}" if text != "-" else "key: '-'").root
    assert root is not None
    assert root.plain() == {"key": value}
    assert type(root.plain()["key"]) is type(value)


def test_an_empty_file_is_a_fault() -> None:
    assert only_fault("") == "mawasu.yaml:1: the file is empty"
    assert only_fault("# only a comment\n") == "mawasu.yaml:1: the file is empty"


def test_a_tab_is_named_as_what_it_is() -> None:
    assert only_fault("a:\n\tb: 1").startswith("mawasu.yaml:2: found a tab, expected spaces")


@pytest.mark.parametrize("text", ["a: b: c", "a: [1", "a: 'x", "a: @x", "a: {b", "a: %x", "]", "a: 1\n b: 2"])
def test_what_is_not_yaml_is_a_fault_with_its_line(text: str) -> None:
    assert "this is not YAML" in only_fault("first: 1\n" + text)


def test_a_key_given_twice_is_a_fault_and_reading_goes_on() -> None:
    document = parse("a: 1\nb: 2\na: 3\nb: 4\n")
    assert [str(fault) for fault in document.faults] == [
        "mawasu.yaml:3: a: the key stands here again, it was first given in line 1",
        "mawasu.yaml:4: b: the key stands here again, it was first given in line 2",
    ]


def test_a_tag_is_refused_and_nothing_is_made_of_it() -> None:
    assert "found the tag `tag:yaml.org,2002:python/object:os.system`" in only_fault("a: !!python/object:os.system x")


def test_an_alias_stands_for_its_value_at_its_own_place() -> None:
    root = parse("a: &x {b: 1}\nc: *x\n").root
    assert root is not None
    assert root.plain() == {"a": {"b": 1}, "c": {"b": 1}}
    alias = root.get("c")
    assert alias is not None
    assert alias.line == 2


def test_an_alias_cannot_hold_itself() -> None:
    assert "no value is named `&x` before here" in only_fault("a: &x [*x]")


def test_aliases_cannot_stand_for_a_billion_values() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "stands for more than" in only_fault("\n".join(lines))


@pytest.mark.parametrize("bracket", ["[", "{a: ", "- "])
def test_depth_is_limited_before_pythons_stack_is(bracket: str) -> None:
    assert f"nested more than {DEEPEST} levels deep" in only_fault(bracket * 5000)


def test_a_file_that_is_too_long_is_not_read() -> None:
    assert "longer than" in only_fault("a" * (LONGEST_TEXT + 1))


def test_a_second_document_is_a_fault() -> None:
    assert only_fault("a: 1\n---\nb: 2\n").startswith("mawasu.yaml:2: a second document starts here")


def test_a_key_that_is_no_text_is_a_fault() -> None:
    assert "found a key that is no text" in only_fault("? [a]\n: 1")


@pytest.mark.parametrize(("text", "name"), [("a: \x07", "U+0007"), ("a: \ud800", "U+D800")])
def test_a_control_character_is_named_by_its_number(text: str, name: str) -> None:
    assert f"mawasu.yaml:2: found {name}, which YAML does not allow" in only_fault("b: 1\n" + text)


def test_a_null_byte_is_a_fault() -> None:
    assert "which YAML does not allow" in only_fault("a: \x00")


def test_windows_line_ends_and_a_byte_order_mark_are_fine() -> None:
    root = parse("\ufeffa: 1\r\nb: 2\r\n").root
    assert root is not None
    assert root.plain() == {"a": 1, "b": 2}


def test_control_characters_never_reach_a_terminal() -> None:
    document = parse('"\\e[31m\\u202e": 1\n"\\e[31m\\u202e": 2')
    assert "\\x1b[31m\\u202e" in str(document.faults[0])
    assert str(document.faults[0]).isprintable()


@given(st.text(st.sampled_from("ab:-[]{}&*!|>'\"#%@` \n\t,?~1."), max_size=40))
def test_no_text_makes_it_raise(text: str) -> None:
    document = parse(text)
    assert isinstance(document, Document)
    assert document.root is not None or document.faults
