# The commands of this project, for people and for CI alike. `make help` lists them.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# Where to look for a Python of at least 3.12, best first. Set PYTHON to choose one yourself.
PYTHONS := $(foreach version,3.12 3.13 3.14,python$(version) \
	$${PYENV_ROOT:-$$HOME/.pyenv}/versions/$(version)*/bin/python \
	/opt/homebrew/bin/python$(version) \
	$$HOME/.local/share/uv/python/cpython-$(version)*/bin/python) python3 python
PYTHON ?= $(shell for python in $(PYTHONS); do \
	"$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo "$$python" && break; done)

VENV := .venv
UV := $(VENV)/bin/uv
RUN := $(VENV)/bin/python -m
SYNC := $(UV) pip sync --require-hashes --compile-bytecode --python
LINK := $(UV) pip install --python $(VENV) --quiet --no-deps --editable .

# What the demo needs. Once the tools for development are there they stay, also for the demo.
READY := $(VENV)/$(if $(wildcard $(VENV)/.ready-to-develop),.ready-to-develop,.ready-to-run)
AUDIT := $(VENV)/audit
NODE_PACKAGES := tests/javascript/node_modules/.package-lock.json

.PHONY: help
help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/.ready-to-develop ## build .venv with everything for development, and fetch the models
	@$(VENV)/bin/antiphon models pull

.PHONY: demo
demo: $(READY) models ## hold a spoken conversation with an edge and a cloud and leave them running; ONCE=1 exits instead
	$(VENV)/bin/antiphon demo $(if $(ONCE),--once)

.PHONY: test
test: setup node ## run every test
	@mkdir -p artifacts
	@# Ray's tests mostly wait, and so run beside others, whose timers go first; not beside those that take all of the machine.
	@nice -n 15 $(RUN) pytest -m "ray and not engine and not hostile" > artifacts/test-ray.log 2>&1 & ray=$$!; trap "kill $$ray" INT TERM; \
	$(RUN) pytest -m "not ray and not engine and not browser and not hostile and not audit"; beside=$$?; \
	wait $$ray; alone=$$?; cat artifacts/test-ray.log; exit $$((beside + alone))
	$(RUN) pytest -m "not ray and (engine or browser) and not hostile"

.PHONY: hostile
hostile: setup ## flood it, fuzz it, drain it and cut its lines, at full size
	$(RUN) pytest -m "hostile$(if $(CI), and not calm)"

.PHONY: audit
audit: $(VENV)/.ready-to-develop $(AUDIT)/.ready ## check manifests, images and pins, with tools in an environment of their own
	$(RUN) pytest -m audit

.PHONY: unit
unit: $(VENV)/.ready-to-develop ## run the quick tests: no models, no browser, no TURN server, no PyTorch
	$(RUN) pytest -m "not models and not slow and not node and not browser and not turn and not engine and not hostile and not audit"

.PHONY: check
check: $(VENV)/.ready-to-develop ## check layout, style, types and the direction of imports
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(VENV)/bin/lint-imports --no-logo
	$(RUN) pytest --quiet tests/test_house.py

.PHONY: format
format: $(VENV)/.ready-to-develop ## lay the code out and mend what can be mended by itself
	$(RUN) ruff check --fix-only .
	$(RUN) ruff format .

.PHONY: bench
bench: $(READY) models ## measure latency at the caller; leave the machine idle meanwhile
	$(VENV)/bin/antiphon bench

.PHONY: lock
lock: $(UV) ## write requirements*.txt anew from pyproject.toml; UPGRADE=1 takes newer versions
	$(call compile,requirements-dev.txt,--extra serve --extra talk --extra reports --extra lfm2 --group dev)
	$(call compile,requirements.txt,--constraint requirements-dev.txt)
	$(call compile,requirements-serve.txt,--constraint requirements.txt --extra serve)
	$(call compile,requirements-lfm2.txt,--constraint requirements.txt --extra lfm2)
	$(call compile,requirements-audit.txt,--group audit)

.PHONY: clean
clean: ## remove what was built here; the models stay in their cache
	rm -rf $(VENV) artifacts tests/javascript/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- the environment ------------------------------------------------------------------------------------------------

$(VENV)/.ready-to-run: requirements-serve.txt pyproject.toml | $(UV)
	$(SYNC) $(VENV) requirements-serve.txt
	$(LINK)
	@touch $@

$(VENV)/.ready-to-develop: requirements-dev.txt pyproject.toml | $(UV)
	$(SYNC) $(VENV) requirements-dev.txt
	$(LINK)
	@touch $@

$(AUDIT)/.ready: requirements-audit.txt | $(VENV)/.ready-to-develop
	$(RUN) venv --without-pip --clear $(AUDIT)
	$(SYNC) $(AUDIT) requirements-audit.txt
	@touch $@

# pip brings uv, in the version and with the hashes of requirements.txt; uv does the rest.
$(UV):
	@"$(or $(PYTHON),none)" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || { \
		echo "Antiphon needs Python 3.12 or newer, with its venv module (on Debian: apt-get install python3-venv);" \
		"$(if $(PYTHON),$(PYTHON) is none,none was found on the PATH or in the usual places)." \
		"Name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "building $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv $(VENV)
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.txt > $(VENV)/uv.txt
	@$(RUN) pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement $(VENV)/uv.txt

.PHONY: models
models: $(READY)
	@$(VENV)/bin/antiphon models pull

.PHONY: node
node: $(if $(shell command -v npm),$(NODE_PACKAGES))

$(NODE_PACKAGES): tests/javascript/package-lock.json
	npm ci --prefix tests/javascript --no-audit --no-fund
	@touch $@

define compile
	$(UV) pip compile $(if $(filter requirements-audit.txt,$(1)),,pyproject.toml) --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate \
		$(if $(UPGRADE),--upgrade) $(2) --output-file $(1)
	@printf '# Written by `make lock`.\n' | cat - $(1) > $(1).new && mv $(1).new $(1)
endef
