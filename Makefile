# Every task of this repository; `make` alone lists them. Needs make and Python 3.11 or newer.
# DEMO_ARGS, EXERCISE_ARGS, TEST_ARGS, SIMULATE_ARGS, MUTANTS_ARGS, MATRIX_ARGS, BENCH_ARGS, RUN_ARGS are handed on, e.g.
# make test TEST_ARGS="-k embedded" (with "-n 0" the tests run in one process, for a debugger and for prints as they come).

.DEFAULT_GOAL := help
.PHONY: help setup demo exercise test campaign simulate mutants matrix check lint fast changed bench bench-peers run fmt docs catalogues docs-reference docs-metrics picture dashboards lock deb release clean

BIN := .venv/bin
READY := .venv/.ready
# Images often forbid bytecode. Then each of a thousand processes of a run would compile what it
# imports: 0.3 s of CPU for a command, 9 s for the tests' own modules.
unexport PYTHONDONTWRITEBYTECODE
# How long each target of the fuzzing is tried in `make campaign`.
FUZZ_S ?= 60
# How long fresh seeds are played in `make campaign`; the first seed is printed.
SIMULATE_S ?= 900
SIMULATE_FIRST ?= $(shell date +%s)
# The first Python that is new enough and can make environments; PYTHON=... chooses another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& command -v "$$python" && break; done)

FAST := $(BIN)/python -m pytest -q -n 2 --no-loadscope-reorder -m "not campaign" tests/unit tests/property tests/tidy

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: $(READY) ## make .venv with the locked packages (again only when they change)

$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with venv was found" \
		"(Debian: apt-get install python3 python3-venv; or make PYTHON=/path/to/python3)"; exit 2; }
	@echo "Setting up .venv with $(PYTHON) ..."
	@"$(PYTHON)" -m venv --clear .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/ringfence warm || echo "Ringfence works without them, at several times the CPU."
	@touch $@

demo: setup ## see it work: five countries, broker and Redis included (DEMO_ARGS="--stay": with the page)
	@$(BIN)/ringfence demo $(DEMO_ARGS)

exercise: setup ## play joint training: five countries on this machine, minutes (EXERCISE_ARGS)
	@$(BIN)/ringfence exercise $(EXERCISE_ARGS)

test: setup ## every test but the campaign's; the first line says what they run against
	@$(BIN)/python -m pytest -n 4 --no-loadscope-reorder -m "not campaign" --durations=30 --durations-min=5 $(TEST_ARGS)

campaign: setup ## the long tests: 20 rounds of kills, alerts on recordings, benches, fuzzing (half an hour; FUZZ_S)
	@RINGFENCE_FAULT_ROUNDS=$${RINGFENCE_FAULT_ROUNDS:-20} \
		$(BIN)/python -m pytest -n 2 --no-loadscope-reorder -m "campaign or rounds" $(TEST_ARGS)
	@$(BIN)/python -m pytest -q -n 2 --no-loadscope-reorder --hypothesis-profile=campaign tests/property
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_S)
	@$(BIN)/python -m tests.simulation --first $(SIMULATE_FIRST) --seconds $(SIMULATE_S)

simulate: setup ## play seeds: client, workers and Kafka in virtual time (SIMULATE_ARGS="--first 7 --seeds 1")
	@$(BIN)/python -m tests.simulation $(or $(SIMULATE_ARGS),--seconds 60)

mutants: setup ## change the modules that decide; a test must notice (those that differ from main; MUTANTS_ARGS="--all")
	@$(BIN)/python -m tests.mutation $(MUTANTS_ARGS)

matrix: setup ## the main tests on other versions of Kafka, Redis and Python; writes their table (MATRIX_ARGS)
	@$(BIN)/python -m tests.tools.matrix $(MATRIX_ARGS)

check: lint changed ## what to run before each commit: lint, and the fast tests that your change can reach

lint: setup ## format, ruff, mypy and the layers
	@$(BIN)/ruff format --check --quiet . || { echo "Run: make fmt"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports

fast: setup ## the tests that need no servers: unit, property, tidy
	@$(FAST)

changed: setup ## of those, the ones that what differs from main can reach by its imports
	@$(FAST) --changed

bench: setup ## measure against the alternatives, table and JSON (minutes; BENCH_ARGS)
	@$(BIN)/python -m tests.bench $(BENCH_ARGS)

bench-peers: setup ## build the JVM, Go, C++ and Rust peers, then measure against all of them
	@$(BIN)/python -m tests.bench.peers.build
	@$(BIN)/python -m tests.bench --only throughput --only latency --only workers $(BENCH_ARGS)

run: setup ## the engine with config/default.toml (RUN_ARGS="--config FILE")
	@$(BIN)/ringfence run $(RUN_ARGS)

fmt: setup ## format the code, and mend what ruff can mend
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

docs: setup ## build the documentation into build/docs; a broken link or a warning fails it
	@$(BIN)/python -m tests.tools.docs

docs-reference: setup ## write what partners fetch: JSON Schema, AsyncAPI, OpenAPI (docs/reference)
	@$(BIN)/python -m tests.tools.docs --schemas

catalogues: setup ## bring the page's translations up to date with its texts (stream/edge/http/languages)
	@$(BIN)/python -m tests.tools.catalogues

docs-metrics: setup ## write the metrics' catalogue into deploy/METRICS.md
	@$(BIN)/python -m tests.tools.write_metrics

picture: setup ## take the picture of README and docs from the demo (ARGS="--all DIR": every page)
	@$(BIN)/python -m tests.tools.page_pictures $(ARGS)

dashboards: setup ## write the Grafana dashboards into deploy/grafana
	@$(BIN)/python -m tests.tools.dashboards

lock: setup ## write requirements.txt anew from pyproject.toml (hashes, Python 3.11 to 3.14)
	@$(BIN)/python -m pip install -q uv
	@$(BIN)/uv pip compile pyproject.toml --extra dev --extra demo --extra otel --extra msk --extra s3 --extra registry --quiet --upgrade \
		--universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links -o requirements.txt
	@$(BIN)/uv pip compile pyproject.toml --extra otel --extra s3 --extra registry --quiet -c requirements.txt \
		--universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links -o deploy/requirements.txt
	@echo "hatchling cyclonedx-bom" | tr ' ' '\n' | $(BIN)/uv pip compile - --quiet -c requirements.txt \
		--universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links -o deploy/requirements-build.txt

deb: setup ## build the Debian package into build/release, on the Debian that it is for (nfpm, or Go)
	@$(BIN)/python -m tests.tools.release.debian_package

release: setup ## build and check all that is released, from the tag; uploads nothing (RELEASE_ARGS="--key FILE")
	@$(BIN)/python -m tests.tools.release $(RELEASE_ARGS)

clean: ## remove .venv and every cache (state/ is yours and stays)
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
