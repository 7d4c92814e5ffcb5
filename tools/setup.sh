#!/bin/sh
# Makes .venv with everything that mawasu, its tests and its demo need, from hashed requirements.
# Run again it does nothing unless the requirements changed.
set -eu
cd "$(dirname "$0")/.."

# Debian and Ubuntu: git and python3 are there by assumption, the rest is installed where we may.
missing=""
command -v bwrap >/dev/null || missing="$missing bubblewrap"
command -v strace >/dev/null || missing="$missing strace"
if grep -q '^ID=debian' /etc/os-release 2>/dev/null; then # Ubuntu has no such package: see CONTRIBUTING.md
  command -v chromium-headless-shell >/dev/null || missing="$missing chromium-headless-shell fonts-liberation"
fi
command -v setpriv >/dev/null || [ "$(uname)" != Linux ] || missing="$missing util-linux"
command -v node >/dev/null || missing="$missing nodejs" # an `api.command` in the tests
command -v redis-server >/dev/null || missing="$missing redis-server"
php -m 2>/dev/null | grep -qx redis || missing="$missing php-cli php-curl php-redis"
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
if [ -n "$missing" ] && command -v apt-get >/dev/null; then
  if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo"; else as_root="no"; fi
  if [ "$as_root" = no ]; then
    echo "these packages are missing and I may not install them:$missing — apt-get install$missing" >&2
    exit 1
  fi
  echo "installing$missing"
  $as_root apt-get update -qq
  # shellcheck disable=SC2086 # a list of words on purpose
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

want=$(cat requirements/*.txt pyproject.toml | cksum)
[ "$(cat .venv/.made 2>/dev/null)" = "$want" ] && exit 0
echo "making .venv"
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
VIRTUAL_ENV=.venv .venv/bin/uv pip sync -q --require-hashes --compile-bytecode requirements/dev.txt
VIRTUAL_ENV=.venv .venv/bin/uv pip install -q --no-deps --no-build-isolation --editable .
echo "$want" > .venv/.made
