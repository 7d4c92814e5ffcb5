# Two commands do everything for a newcomer: `make demo` and `make test`. Each makes its own .venv first.
PYTHON := .venv/bin/python
.PHONY: setup demo demo-both test check wheel bench lock

setup:
	@sh tools/setup.sh

demo: setup
	@$(PYTHON) demo/run.py

# The demo's pushes on one machine and on Google's double, compared step by step.
demo-both: setup
	@env -u PYTHONDONTWRITEBYTECODE .venv/bin/pytest tests/gcp/demo_on_both.py

test: setup
	@env -u PYTHONDONTWRITEBYTECODE .venv/bin/pytest -n 3 tests

# Lint, types, import rules.
check: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# Build the wheel and try it as a stranger would: a new environment, an empty home, no repository.
wheel: setup
	@sh tools/smoke.sh

bench: setup
	@$(PYTHON) -m bench

# Renew the hashed requirements from pyproject.toml.
lock: setup
	.venv/bin/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 --group dev pyproject.toml -o requirements/dev.txt
	echo uv | .venv/bin/uv pip compile -q --generate-hashes --no-header --python-version 3.11 --universal -c requirements/dev.txt - -o requirements/uv.txt
