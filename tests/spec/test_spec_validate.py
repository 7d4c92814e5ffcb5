from __future__ import annotations

import pytest

from mawasu.errors import SpecError
from mawasu.spec import load, parse, validate
from tests.spec.texts import GOOD, PATHS, changed, faults


def test_the_good_file_has_no_fault() -> None:
    assert faults(GOOD, PATHS) == []


def test_a_fault_says_file_line_path_what_was_expected_and_the_nearest_name() -> None:
    text = changed("  resources: {cpu: 2, memory: 4Gi}", "  resorces: {cpu: 2}")
    assert faults(text) == ["mawasu.yaml:16: training.resorces: unknown key — did you mean `resources`?"]


def test_all_faults_come_at_once_in_the_order_of_the_file() -> None:
    text = GOOD.replace("feature: callback", "feature: Callback").replace("4Gi", "4GB").replace("roc_auc\n", "auc\n")
    with pytest.raises(SpecError) as caught:
        load(text, file="models/mawasu.yaml")
    assert str(caught.value).splitlines() == [
        "models/mawasu.yaml:1: feature: found `Callback`, expected a name of at most 39 characters: "
        "a small letter, then small letters, digits and `-` — `callback` would do",
        "models/mawasu.yaml:16: training.resources.memory: found `4GB`, expected a size such as `512Mi` or `4Gi`"
        " — did you mean `4Gi`?",
        "models/mawasu.yaml:20: evaluation.metric: found `auc`, expected one of `roc_auc`, `log_loss`, `accuracy`, "
        "`rmse`, `mae` — did you mean `roc_auc`?",
    ]


def test_validation_changes_nothing() -> None:
    document = parse(GOOD)
    assert document.root is not None
    before = document.root.plain()
    assert validate(document, PATHS) == ()
    assert document.root.plain() == before


ONE_FAULT = {
    "not a mapping": ("just text", ": found `just text`, expected a mapping with `feature`"),
    "a list": ("- a", "expected a mapping with"),
    "nothing to do": ("feature: a", "there is nothing to build"),
    "no name": (GOOD.replace("feature: callback\n", ""), "`feature` is missing, expected a name such as"),
    "a number as a name": (changed("feature: callback", "feature: 12"), "found the number `12`"),
    "a name that is too long": (changed("feature: callback", "feature: " + "a" * 40), "at most 39 characters"),
    "an unknown section": (changed("training:\n", "trainning:\n"), "trainning: unknown key — did you mean `training`?"),
    "an empty section": (changed("auth:\n  openapi: auth/openapi.yaml\n", "auth:\n"), "auth: found nothing"),
    "a reserved environment": (
        changed("  preview: {", "  preview-a: {branch: a/**, "),
        "does not start with `preview-`",
    ),
    "one branch in two environments": (
        changed("  preview: {expires: 7d}", "  staging: {branch: production}"),
        "environments.staging.branch: `production` takes `production` already",
    ),
    "a stable environment that expires": (
        changed("{branch: production}", "{branch: production, expires: 1d}"),
        "environments.production.expires: only previews of branches expire",
    ),
    "an environment without a branch": (changed("{branch: production}", "{}"), "`branch` is missing"),
    "two kinds of preview": (
        changed("  preview: {expires: 7d}", "  preview: {}\n  try: {branch: try/**, expires: 1d}"),
        "`preview` is the environment of previews already",
    ),
    "no environment at all": (
        changed("  production: {branch: production}\n  preview: {expires: 7d}\n", "  {}\n"),
        "environments: found an empty mapping",
    ),
    "a branch that is no glob": (changed("{branch: production}", "{branch: 'a['}"), "expected a `]` after the `[`"),
    "a source of two kinds": (
        changed("{files: data/*.csv}", "{files: data/*.csv, path: /x}"),
        "found `files`, `path` together, expected only one of them",
    ),
    "a source of no kind": (changed("{files: data/*.csv}", "{}"), "expected one of `files`, `path`"),
    "data outside as files": (changed("data/*.csv", "/srv/a.csv"), "data outside the repository is given as `path:`"),
    "data in a cloud as files": (changed("data/*.csv", "gs://b/*.csv"), "give a gs:// URI as `path:`"),
    "a pattern in a cloud": (
        changed("{files: data/*.csv}", "{path: gs://b}"),
        "expected `gs://BUCKET/PREFIX-OR-OBJECT`",
    ),
    "a relative outside path": (
        changed("{files: data/*.csv}", "{path: data/a}"),
        "`files:` names files of the repository",
    ),
    "another outside scheme": (changed("{files: data/*.csv}", "{path: s3://b/a}"), "not built yet: data from `s3://`"),
    "a file of another machine": (changed("{files: data/*.csv}", "{path: file://host/a}"), "an absolute path"),
    "a database": (changed("{files: data/*.csv}", "{sql: select 1}"), "not built yet: data from a database"),
    "a holdout of two kinds": (
        changed("{column: month, in: [11]}", "{column: month, in: [11], fraction: 0.1}"),
        "found `column`, `fraction` together",
    ),
    "a holdout without values": (changed("{column: month, in: [11]}", "{column: month}"), "stands without `in`"),
    "a holdout of everything": (
        changed("{column: month, in: [11]}", "{fraction: 1}"),
        "found the number `1`, expected a number between 0 and 1",
    ),
    "a value held out twice": (changed("in: [11]", "in: [11, 11]"), "found the number `11` a second time"),
    "an unknown data set": (
        changed("data: [resumes]", "data: [resume]"),
        "training.data[0]: no data set is named `resume`",
    ),
    "paths that are no list": (changed("paths: [training/**]", "paths: training/**"), "write [training/**]"),
    "no paths": (changed("paths: [training/**]", "paths: []"), "found an empty list"),
    "an absolute path": (changed("[training/**]", "[/etc]"), "inside the feature's root, not an absolute one"),
    "a path that leads out": (changed("[training/**]", "[a/../..]"), "without `..`"),
    "a path with a dot": (changed("[training/**]", "[./training]"), "write `training`"),
    "a home directory": (changed("[training/**]", "[~/x]"), "not an absolute one"),
    "a glob with a star too many": (changed("[training/**]", "[train**]"), "`**` alone between slashes"),
    "no command": (changed("  command: python training/train.py\n", ""), "training: `command` is missing"),
    "an empty command": (changed("python training/train.py", "' '"), "expected text that is not empty"),
    "a lock of another tool": (changed("training/uv.lock", "training/poetry.lock"), "expected the path of a `uv.lock`"),
    "a Dockerfile as lock": (
        changed("training/uv.lock", "training/Dockerfile"),
        "write it as `dockerfile: training/Dockerfile`",
    ),
    "a folder as Dockerfile": (
        changed("lock: training/uv.lock", "dockerfile: training/"),
        "training.dockerfile: found `training/`",
    ),
    "a time without unit": (changed("timeout: 1h", "timeout: 90"), "write `90s` for seconds"),
    "a time of words": (changed("timeout: 1h", "timeout: an hour"), "expected a time such as `30s`"),
    "no time": (changed("timeout: 1h", "timeout: 0s"), "expected a time longer than zero"),
    "memory without unit": (changed("memory: 4Gi", "memory: 4096"), "expected a size such as `512Mi`"),
    "no memory": (changed("memory: 4Gi", "memory: 0Mi"), "larger than zero"),
    "cpu as text": (changed("cpu: 2", "cpu: 500m"), "found `500m`, expected a number of cores"),
    "cpu as truth": (changed("cpu: 2", "cpu: true"), "found `true`, expected a number of cores"),
    "no cpu": (changed("cpu: 2", "cpu: 0"), "expected a number of cores"),
    "an accelerator of no kind": (changed("cpu: 2", "accelerator: gpu"), "expected an accelerator such as `NVIDIA_L4`"),
    "no workers": (changed("cpu: 2", "workers: 0"), "expected a whole number from 1 to 1000"),
    "no project": (GOOD + "gcp: {region: europe-west1}\n", "gcp: `project` is missing"),
    "a project with capitals": (
        GOOD + "gcp: {project: Acme, region: europe-west1}\n",
        "gcp.project: found `Acme`, expected a project's id such as `acme-ml`",
    ),
    "a zone": (GOOD + "gcp: {project: acme-ml, region: europe-west1-b}\n", "expected a region such as `europe-west1`"),
    "a subnet of no network": (
        GOOD + "gcp: {project: acme-ml, region: europe-west1, api: {subnet: a}}\n",
        "gcp.api: `subnet` stands without `network`",
    ),
    "network as a word": (changed("cpu: 2", "network: yes"), "found `yes`, expected `true` or `false`"),
    "groups": (changed("    row: id", "    row: id\n    groups: {by: a}"), "data.resumes.groups: not built yet"),
    "a cache without a time": (changed("scale: {min: 1}", "cache: {warm: 9}"), "api.cache: `ttl` is missing"),
    "a cache of changes": (changed("scale: {min: 1}", "cache: {ttl: 10m, methods: [PUT]}"), "api.cache.methods[0]"),
    "a cache by no header": (changed("scale: {min: 1}", "cache: {ttl: 10m, vary: [a b]}"), "api.cache.vary[0]"),
    "refresh of files": (
        changed("    row: id", "    row: id\n    refresh: daily"),
        "data.resumes.refresh: files of the repository change by pushes",
    ),
    "refresh without a branch": (
        changed("{files: data/*.csv}", "{path: /srv/a.csv}")
        .replace("    row: id", "    row: id\n    refresh: daily")
        .replace("{branch: production}", "{branch: release/*}"),
        "data.resumes.refresh: there is no one branch that its commits could go to",
    ),
    "refresh, but how often": (
        changed("    row: id", "    row: id\n    refresh: often"),
        "data.resumes.refresh: found `often`, expected `hourly`, `daily`, `weekly`, or a time such as `6h`",
    ),
    "params without JSON": (
        changed("timeout: 1h", "params: {a: [.nan]}"),
        "training.params.a[0]: found the number `.nan`",
    ),
    "params as a list": (changed("timeout: 1h", "params: [1]"), "training.params: found a list, expected a mapping"),
    "a negative seed": (changed("timeout: 1h", "seed: -1"), "training.seed"),
    "a label that is missing": (
        changed("    label: called\n", ""),
        "evaluation needs `label` of the data set `resumes`",
    ),
    "no holdout": (
        changed("    holdout: {column: month, in: [11]}\n", ""),
        "evaluation: expected exactly one data set with a `holdout`, none has one",
    ),
    "evaluation of an unknown set": (
        changed("  metric:", "  data: x\n  metric:"),
        "evaluation.data: no data set is named `x`",
    ),
    "a metric nobody knows": (changed("{roc_auc: ", "{f1: "), "evaluation.gate.first.f1: found `f1`, expected one of"),
    "a bound without sign": (changed('">= 0.55"', "0.55"), 'did you mean ">= 0.55"?'),
    "a bound of words": (changed('">= 0.55"', "good"), 'expected a bound such as ">= 0.55"'),
    "too much confidence": (changed("gate: {", "gate: {confidence: 95, "), "evaluation.gate.confidence"),
    "a negative margin": (changed("gate: {", "gate: {not_worse_by: -1, "), "evaluation.gate.not_worse_by"),
    "no handler": (changed("  handler: api.handler:predict\n", ""), "api: expected one of `handler`, `command`"),
    "handler and command": (changed("  scale:", "  command: x\n  scale:"), "found `handler`, `command` together"),
    "a handler as a path": (
        changed("api.handler:predict", "api/handler.py:predict"),
        "did you mean `api.handler:predict`?",
    ),
    "a handler without function": (changed("api.handler:predict", "api"), "expected `package.module:function`"),
    "batches for a server": (
        changed("handler: api.handler:predict", "command: x\n  batch: {max_size: 2}"),
        "api.batch: only a `handler` is given batches",
    ),
    "workers for a server": (
        changed("handler: api.handler:predict", "command: x\n  workers: {count: 2}"),
        "api.workers: only a `handler` is run by workers",
    ),
    "more at least than at most": (
        changed("{min: 1}", "{min: 3, max: 2}"),
        "api.scale.max: found 2, expected at least",
    ),
    "a secret in small letters": (changed("[MAPS_TOKEN]", "[maps]"), "expected the name of a secret"),
    "a secret that mawasu sets": (changed("[MAPS_TOKEN]", "[MAWASU_MODEL]"), "mawasu sets this variable itself"),
    "no authentication": (changed("auth:\n  openapi: auth/openapi.yaml\n", ""), "nothing is served unauthenticated"),
    "a directory as document": (
        changed("auth/openapi.yaml", "auth/"),
        "expected the path of a file, not of a directory",
    ),
    "a merge key": (changed("  scale:", "  <<: {}\n  scale:"), "api.<<: unknown key"),
}


@pytest.mark.parametrize(("text", "expected"), ONE_FAULT.values(), ids=ONE_FAULT.keys())
def test_a_faulty_file_is_refused_with_one_line_about(text: str, expected: str) -> None:
    found = faults(text)
    assert len(found) == 1, found
    assert expected in found[0]
    assert found[0].isprintable()


def test_auth_without_an_api_and_evaluation_without_training_are_refused() -> None:
    text = "feature: a\ntraining: {paths: [a], command: b}\nauth: {openapi: c}\n"
    assert faults(text) == ["mawasu.yaml:3: auth: stands without `api`, so there is nothing to guard"]
    text = "feature: a\napi: {paths: [a], command: b}\nauth: {openapi: c}\n"
    text += "data: {d: {source: {files: e}, holdout: {fraction: 0.1}, label: l, row: r}}\n"
    text += "evaluation: {command: f, paths: [a], metric: mae}\n"
    assert faults(text) == ["mawasu.yaml:5: evaluation: stands without `training`, so there is no model to evaluate"]


def test_with_two_holdouts_evaluation_must_say_which() -> None:
    text = changed("training:\n", "  more:\n    source: {path: /a}\n    holdout: {fraction: 0.1, key: k}\ntraining:\n")
    (fault,) = faults(text)
    assert "`resumes`, `more` have one — name the one to score as `data:`" in fault


def test_a_fraction_needs_a_key_or_a_row() -> None:
    text = "feature: a\ntraining: {paths: [a], command: b}\n"
    text += "data:\n  d:\n    source: {path: /x}\n    holdout: {fraction: 0.1}\n"
    assert faults(text) == [
        "mawasu.yaml:6: data.d.holdout: `fraction` stands without `key`, expected the name of the column to hash"
        " — or give the data set a `row`"
    ]


def test_all_settings_of_google_cloud_are_read() -> None:
    feature = load(
        GOOD
        + """
gcp:
  project: acme-ml
  region: europe-west1
  github: acme/resumes
  images: {builder: kaniko, cache_ttl: 7d}
  training: {machine: n1-standard-8, disk: 200Gi, scheduling: spot, parameter_servers: 2, evaluators: 1}
  api: {concurrency: 20, network: default, subnet: inner}
  gateway: {cors: ["https://acme.example"], keys: google}
  redis: 1Gi
"""
    )
    assert feature.gcp is not None
    assert feature.gcp.bucket == "acme-ml-mawasu"
    assert feature.gcp.training.disk == 200 * 2**30
    assert feature.gcp.images.cache_ttl == 7 * 86400
    assert feature.gcp.redis == 2**30


MISSING = {
    "a lock": ("training/uv.lock", "training.lock: there is no file `training/uv.lock`"),
    "the project of a lock": ("training/pyproject.toml", "there is no `training/pyproject.toml` beside it"),
    "examples": ("api/examples.yaml", "api.examples: there is no file `api/examples.yaml` — is it committed?"),
    "a document": ("auth/openapi.yaml", "auth.openapi: there is no file `auth/openapi.yaml`"),
    "a handler": ("api/handler.py", "api.handler: there is no file `api/handler.py`"),
    "data": ("data/a.csv", "data.resumes.source.files[0]: no file matches `data/*.csv`"),
}


@pytest.mark.parametrize(("path", "expected"), MISSING.values(), ids=MISSING.keys())
def test_a_path_that_names_nothing_is_a_fault_for(path: str, expected: str) -> None:
    (fault,) = faults(GOOD, PATHS - {path})
    assert expected in fault


def test_a_missing_file_names_the_nearest_one_there_is() -> None:
    (fault,) = faults(changed("api/examples.yaml", "api/example.yaml"), PATHS)
    assert fault.endswith("there is no file `api/example.yaml` — did you mean `api/examples.yaml`?")
    (fault,) = faults(changed("[training/**]", "[trainig/**]"), PATHS)
    assert fault.endswith("no file matches `trainig/**` — did you mean `training/**`?")


def test_a_handler_may_be_in_an_installed_package() -> None:
    assert faults(changed("api.handler:predict", "installed.handler:predict"), PATHS) == []


def test_a_fault_of_an_unread_file_is_its_only_one() -> None:
    assert len(faults("feature: a\n\tx: 1", PATHS)) == 1


def test_a_long_or_hostile_value_is_shown_short_and_escaped() -> None:
    (fault,) = faults(changed("feature: callback", 'feature: "\\e[2J\\u202e' + "x" * 500 + '"'))
    assert "\\x1b[2J\\u202e" in fault
    assert len(fault) < 260
    assert fault.isprintable()
