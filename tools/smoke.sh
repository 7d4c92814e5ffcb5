#!/bin/sh
# The built wheel as a stranger meets it: a new environment, an empty home, a first feature, one push, one answer.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
HOME="$work/home"
export HOME
mkdir -p "$HOME"
unset MAWASU_HOME
finish() {
  [ ! -x "$work/env/bin/mawasu" ] || "$work/env/bin/mawasu" down >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

rm -rf dist
.venv/bin/python -m build --wheel --no-isolation --outdir dist . >/dev/null
.venv/bin/python -m build --wheel --no-isolation --outdir dist src/mawasu/client >/dev/null
wheel=$(ls "$root"/dist/mawasu-[0-9]*.whl)
client=$(ls "$root"/dist/mawasu_client-*.whl)
echo "wheels: $(basename "$wheel") ($(du -h "$wheel" | cut -f1)), $(basename "$client") ($(du -h "$client" | cut -f1))"
.venv/bin/uv venv -q "$work/env" --python .venv/bin/python
VIRTUAL_ENV="$work/env" .venv/bin/uv pip install -q "$wheel"
.venv/bin/uv venv -q "$work/caller" --python .venv/bin/python
VIRTUAL_ENV="$work/caller" .venv/bin/uv pip install -q "$client"
cd "$work"
git config --global user.name "A stranger"
git config --global user.email stranger@example.org
port=$("$work/env/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
env/bin/mawasu init first
cd first
git add -A
git commit -qm "First feature"
../env/bin/mawasu up --port "$port"
git push -q -o follow=300 mawasu main
../env/bin/mawasu status
key=$(../env/bin/mawasu keys create smoke)
request=$("$work/env/bin/python" - <<'PY'
import json, pathlib
from ruamel.yaml import YAML
example = YAML(typ="safe").load(pathlib.Path("api/examples.yaml").read_text())
examples = example["examples"] if isinstance(example, dict) else example
print(examples[0]["request"]["path"], json.dumps(examples[0]["request"]["body"]))
PY
)
feature=$(sed -n 's/^feature: *\([a-z0-9-]*\).*/\1/p' mawasu.yaml)
url="http://127.0.0.1:$port/$feature/staging${request%% *}"
refused=$(curl -s -o /dev/null -w '%{http_code}' -H 'content-type: application/json' -d "${request#* }" "$url")
answered=$(curl -s -o "$work/answer" -w '%{http_code}' -H "x-api-key: $key" -H 'content-type: application/json' -d "${request#* }" "$url")
echo "without a key: $refused; with one: $answered $(cat "$work/answer")"
[ "$refused" = 401 ] && [ "$answered" = 200 ]
KEY="$key" "$work/caller/bin/python" - "${url%"${request%% *}"}" "$request" <<'PY'
import json, os, sys
from mawasu.client import Api
path, _, body = sys.argv[2].partition(" ")
with Api(sys.argv[1], key=os.environ["KEY"], timeout=5) as api:
    answer = api.predict(json.loads(body), path=path)
print("by mawasu-client:", answer.source, answer.value)
PY
../env/bin/mawasu verify
../env/bin/mawasu down
