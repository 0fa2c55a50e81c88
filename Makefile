# Two commands for a newcomer: `make demo` and `make test`.
# They need python3 with venv; a real local Kafka also needs Java 17 with Maven, or Docker.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Where bytecode is not kept, each of the many processes here compiles all that it imports.
export PYTHONDONTWRITEBYTECODE :=

# To look for faults elsewhere would take longer than some of them.
FAULTS := tests/integration tests/faults

.DEFAULT_GOAL := help
.PHONY: help install demo up test faults check soak lock docs clean
.PHONY: bench bench-peers bench-latency bench-scale bench-baseline bench-training

help:
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 23

install: $(STAMP) ## build .venv with all extras

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "uv>=0.5,<1"

$(STAMP): requirements.lock pyproject.toml | $(BIN)/uv
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	touch $@

demo: $(STAMP) ## real events through Kafka, Faust and Postgres, ending with a report
	$(BIN)/intentloop demo

up: $(STAMP) ## everything, with live traffic, until Ctrl-C
	$(BIN)/intentloop up

test: $(STAMP) ## all tests but the slowest faults
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not (alone or slow_fault)"
	$(BIN)/pytest -m alone tests/integration

faults: $(STAMP) ## every fault, the slowest too; the figures go to docs/reliability.md
	$(BIN)/pytest -n 2 --dist worksteal -m "fault or slow_fault" --junitxml=var/faults.xml $(FAULTS)
	PYTHONPATH=tests $(BIN)/python -m support.reliability var/faults.xml docs/reliability.md

check: $(STAMP) ## lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## Kafka to committed beside raw COPY, a hand-written consumer, stock Faust; to var/bench
	$(BIN)/python -m bench --results var/bench/results

bench-peers: $(STAMP) ## the same with 1,000,000 events and all peers; writes docs/benchmarks.md
	$(BIN)/python -m bench --peers --events 1000000

bench-latency: $(STAMP) ## event to visible, and log() alone; writes docs/benchmarks.md
	$(BIN)/python -m bench.latency

bench-scale: $(STAMP) ## workers, shapes, stored rows, rebalances, partitions; writes docs/benchmarks.md
	$(BIN)/python -m bench.scale
	$(BIN)/python -m bench.partitioned

bench-baseline: $(STAMP) ## record the ratio that the tests' guard compares with
	$(BIN)/python -m bench.guard --record

bench-training: $(STAMP) ## figures of docs/training.md; DATA=folder with clinc150/ and bitext/
	$(BIN)/python -m bench.training $(if $(DATA),--data $(DATA))

soak: $(STAMP) ## the highest load for 5 minutes, and the memory it takes; into docs/reliability.md
	$(BIN)/python -m bench.soak --document docs/reliability.md --plot docs/soak.svg

lock: | $(BIN)/uv ## write requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --all-extras --group dev --no-emit-index-url \
	  --custom-compile-command "make lock" --python-version 3.11 pyproject.toml -o requirements.lock

docs: $(STAMP) ## regenerate what is generated: JSON Schemas, docs/configuration.md, the table in docs/api.md
	$(BIN)/python -m intentloop_schemas.json_schema schemas/json
	$(BIN)/intentloop settings --markdown > docs/configuration.md
	$(BIN)/python -m intentloop_admin.reference docs/api.md

clean: ## remove what make made
	rm -rf $(VENV) var
