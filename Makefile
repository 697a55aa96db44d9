# Each target does its own set-up in $(VENV): a virtual environment with the versions of
# constraints.txt. PYTHON=python3.12 chooses another Python, PIP_ARGS=... tells pip more.

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --quiet -c constraints.txt $(PIP_ARGS)
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
FAST := tests/unit tests/property tests/contract src

# What is compiled once need not be by each of the thousand processes that tests start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo post mesh test nightly faults check lint bench bench-nightly lock clean system-packages
.DELETE_ON_ERROR:

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.stamp-demo  ## Run the main job on real proteins; results land in demo/.
	$(BIN)/atoll demo --out demo

post: $(VENV)/.stamp-dev system-packages  ## Run the whole post on a real object store and emulated AWS; results in post/.
	$(BIN)/python -m bench.post --out post

mesh: $(VENV)/.stamp-dev  ## Walk a table's whole way through the mesh, by commands and by HTTP.
	$(BIN)/python tests/mesh_journey.py

test: $(VENV)/.stamp-dev system-packages lint  ## Lint, then run every test.
	$(BIN)/python -m pytest -n 3 --no-loadscope-reorder

nightly: $(VENV)/.stamp-dev system-packages  ## Every test, more of each kind: an hour or two.
	$(BIN)/python -m pytest -n 3 --no-loadscope-reorder --nightly --kills 10
	$(BIN)/python -m pytest -n 3 --no-loadscope-reorder --database postgresql \
	  tests/integration/test_mesh_*.py tests/property/test_mesh_*.py

faults: $(VENV)/.stamp-dev  ## Kill each command at KILLS random points (50); fleets RUNS times (20); hours.
	$(BIN)/python -m pytest --kills $(or $(KILLS),50) -k "killed" tests/integration
	$(BIN)/python -m bench.fleetfaults --runs $(or $(RUNS),20) --chaos $(or $(CHAOS),100) \
	  --soak $(or $(SOAK),30) $(if $(FIGURE),--only "$(FIGURE)")

check: $(VENV)/.stamp-dev lint  ## Lint, then run the fast tests: under two minutes.
	$(BIN)/python -m pytest -m "not ceph and not slow" $(FAST)

lint: $(VENV)/.stamp-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.stamp-bench  ## Measure; DATA=folder adds the data sets that are not ours to ship.
	$(BIN)/python -m bench $(if $(DATA),--data "$(DATA)") $(if $(SCRATCH),--scratch "$(SCRATCH)")

bench-nightly: $(VENV)/.stamp-bench  ## Build 10 million vectors, search 1 million; SCRATCH=folder.
	$(BIN)/python -m bench --nightly $(if $(SCRATCH),--scratch "$(SCRATCH)")

lock: $(VENV)/.stamp-dev  ## Write constraints.txt anew from what is installed.
	{ sed -n '/^#/p' constraints.txt; $(PIP) freeze --all --exclude-editable \
	| sed -n 's/+[a-z0-9.]*$$//; /^pip==/d; /^[A-Za-z0-9._-]*==/p' | sort -f; } > constraints.new
	mv constraints.new constraints.txt

clean:  ## Remove everything that make has made here.
	rm -rf "$(VENV)" build dist demo post .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf .import_linter_cache src/*.egg-info
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Atoll needs Python 3.11 or newer; give it: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; as root: apt-get install python3-venv" >&2; \
	  exit 1; }
	$(PYTHON) -m venv --clear "$(VENV)"
	touch $@

$(VENV)/.stamp-base: $(VENV)/.stamp-venv pyproject.toml constraints.txt
	$(INSTALL) setuptools
	touch $@

$(VENV)/.stamp-demo: $(VENV)/.stamp-base
	$(INSTALL) --no-build-isolation -e '.[plot]'
	touch $@

# The build of torch without CUDA carries "+cpu" in its version. Where pip's package index does not
# offer it, the general build works as well: it is only large.
$(VENV)/.stamp-dev: $(VENV)/.stamp-base
	@echo "installing torch $(TORCH) and the other packages that the tests need"
	@$(INSTALL) 'torch==$(TORCH)+cpu' 2>/dev/null || { \
	  echo "Your package index has no CPU build of torch $(TORCH); installing the general one, on" \
	  "Linux several GB. To avoid that: make $(MAKECMDGOALS) PIP_ARGS='--extra-index-url URL'," \
	  "with the CPU index that PyTorch's web page names." >&2; \
	  $(INSTALL) torch==$(TORCH); }
	$(INSTALL) --no-build-isolation -e '.[dev]'
	touch $@

# hnswlib comes as source: it needs a C++ compiler, and brings its own build tools.
$(VENV)/.stamp-bench: $(VENV)/.stamp-dev
	$(INSTALL) -e '.[bench]'
	touch $@

# Tests of a real object store need these; without them they are skipped by name, in red.
system-packages:
	@wanted=$$(cat debian-packages.txt); \
	if ! command -v apt-get >/dev/null || dpkg -s $$wanted >/dev/null 2>&1; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then \
	  echo "NOT INSTALLED, for lack of root:" $$wanted >&2; exit 0; fi; \
	apt-get update -qq || echo "apt-get update failed; trying with the lists there are" >&2; \
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$wanted \
	  >/dev/null || echo "NOT INSTALLED, apt-get failed:" $$wanted >&2
