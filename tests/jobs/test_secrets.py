from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from mawasu.errors import CorruptError, StepError, UsageError
from mawasu.home import Home
from mawasu.platforms.local.secrets import Scope, Secrets


@pytest.fixture
def secrets(home: Home) -> Secrets:
    return Secrets(home)


def test_a_secret_is_given_to_its_environment_and_step_only(secrets: Secrets) -> None:
    secrets.set("TOKEN", "for production", "production", ["api"])
    assert secrets.resolve(["TOKEN"], "production", "api", preview=False) == {"TOKEN": "for production"}
    for environment, step in (("production", "training"), ("staging", "api")):
        with pytest.raises(StepError):
            secrets.resolve(["TOKEN"], environment, step, preview=False)  # type: ignore[arg-type]


def test_a_missing_secret_is_named_with_the_command_that_sets_it(secrets: Secrets) -> None:
    secrets.set("THERE", "value")
    with pytest.raises(StepError) as caught:
        secrets.resolve(["THERE", "TOKEN", "OTHER"], "production", "api", preview=False)
    assert caught.value.message == "no secret TOKEN, OTHER for api in production"
    assert caught.value.hint == "`mawasu secrets set TOKEN --environment production --step api`"


def test_previews_get_none_unless_a_scope_names_them(secrets: Secrets) -> None:
    secrets.set("TOKEN", "for all")
    with pytest.raises(StepError, match="--environment preview"):
        secrets.resolve(["TOKEN"], "preview-try-gbdt", "api", preview=True)
    secrets.set("TOKEN", "for previews", "preview")
    assert secrets.resolve(["TOKEN"], "preview-try-gbdt", "api", preview=True) == {"TOKEN": "for previews"}
    secrets.set("TOKEN", "for one", "preview-try-*")
    assert secrets.resolve(["TOKEN"], "preview-try-gbdt", "api", preview=True) == {"TOKEN": "for one"}
    assert secrets.resolve(["TOKEN"], "preview-other", "api", preview=True) == {"TOKEN": "for previews"}
    assert secrets.resolve(["TOKEN"], "production", "api", preview=False) == {"TOKEN": "for all"}


def test_the_name_of_an_environment_wins_over_patterns(secrets: Secrets) -> None:
    secrets.set("TOKEN", "pattern", "production-*")
    secrets.set("TOKEN", "all", "*")
    secrets.set("TOKEN", "own", "production-a")
    assert secrets.resolve(["TOKEN"], "production-a", "api", preview=False)["TOKEN"] == "own"
    assert secrets.resolve(["TOKEN"], "production-b", "api", preview=False)["TOKEN"] == "pattern"
    assert secrets.resolve(["TOKEN"], "staging", "api", preview=False)["TOKEN"] == "all"


def test_setting_again_replaces_and_unsetting_forgets(secrets: Secrets) -> None:
    secrets.set("TOKEN", "old", "production")
    secrets.set("TOKEN", "new", "production")
    assert secrets.list() == [Scope("TOKEN", "production", "api"), Scope("TOKEN", "production", "training")]
    assert secrets.resolve(["TOKEN"], "production", "api", preview=False)["TOKEN"] == "new"
    assert secrets.unset("TOKEN", step="api") == 1
    assert secrets.unset("TOKEN", "staging") == 0
    assert secrets.unset("TOKEN") == 1
    assert secrets.list() == []


def test_no_value_is_on_the_disk_in_the_clear(secrets: Secrets, home: Home) -> None:
    secrets.set("TOKEN", "hunter2-and-more")
    files = [path for path in home.path.rglob("*") if path.is_file()]
    assert files
    assert not any(b"hunter2" in path.read_bytes() for path in files)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)


def test_a_value_cannot_be_moved_to_a_wider_scope(secrets: Secrets, home: Home) -> None:
    secrets.set("TOKEN", "value", "production", ["api"])
    file = home.secrets / "secrets.json"
    file.write_bytes(file.read_bytes().replace(b'"production"', b'"preview"'))
    with pytest.raises(CorruptError, match="cannot be decrypted"):
        secrets.resolve(["TOKEN"], "preview-x", "api", preview=True)


def test_a_lost_key_is_told_and_not_replaced(secrets: Secrets, home: Home) -> None:
    secrets.set("TOKEN", "value")
    (home.path / "secret.key").unlink()
    with pytest.raises(CorruptError, match=r"secret\.key is gone"):
        secrets.resolve(["TOKEN"], "production", "api", preview=False)
    with pytest.raises(CorruptError, match=r"secret\.key is gone"):
        secrets.set("OTHER", "value")
    assert secrets.unset("TOKEN") == 2
    secrets.set("OTHER", "value")


def test_a_file_that_is_no_secrets_file_is_told(secrets: Secrets, home: Home) -> None:
    secrets.set("TOKEN", "value")
    (home.secrets / "secrets.json").write_text("{")
    with pytest.raises(CorruptError, match=r"secrets\.json cannot be read"):
        secrets.list()


@pytest.mark.parametrize(("name", "value"), [("A-B", "x"), ("1A", "x"), ("", "x"), ("A", ""), ("A", "x\0y")])
def test_what_cannot_be_a_variable_is_refused(secrets: Secrets, name: str, value: str) -> None:
    with pytest.raises(UsageError):
        secrets.set(name, value)


def test_secrets_set_at_the_same_time_are_all_kept(secrets: Secrets) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: secrets.set(f"S{n}", "value", steps=["api"]), range(12)))
    assert len(secrets.list()) == 12


def test_a_step_without_secrets_needs_no_key(secrets: Secrets, home: Home) -> None:
    assert secrets.resolve([], "production", "api", preview=False) == {}
    assert not (home.path / "secret.key").exists()
