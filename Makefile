# Every target makes the environment it needs. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
export PYTHON

.PHONY: help demo test check fast fix bench bench-network bench-restart mutate tables lock cometbft run-env dev-env clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: run-env $(if $(NETWORK),cometbft) ## the region's story, then keep serving; ONCE=1 stop after it, RECORDS=DIR real bundles, NETWORK=4 over validators
	@$(BIN)/yilian demo $(if $(ONCE),--once) $(if $(RECORDS),--records "$(RECORDS)") $(if $(NETWORK),--network "$(NETWORK)") $(ARGS)

test: dev-env ## every test, the slow ones too (about 2 cores; TESTS=tests/unit narrows it)
	@$(BIN)/pytest -q -n 2 --dist loadgroup $(TESTS) $(ARGS)

fast: dev-env ## the fast tests only
	@$(BIN)/pytest -q -n 2 --dist loadgroup -m "not slow" $(TESTS) $(ARGS)

check: dev-env ## style, types, floors, house rules, generated tables, fast tests
	@tools/check.sh

fix: dev-env ## let ruff mend and format what it can, and write generated tables and help texts anew
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet . ; $(BIN)/python tools/contract_tables.py ; $(BIN)/python tools/documents.py

tables: dev-env ## write the generated tables of the contract rooms' READMEs
	@$(BIN)/python tools/contract_tables.py

bench: dev-env ## throughput, latency, release, import, growth against their targets; writes bench/results.json
	@$(BIN)/python -m bench $(ARGS)

bench-network: dev-env cometbft ## the same ledger on 1 and 4 validators
	@$(BIN)/python bench/network.py $(ARGS)

bench-restart: dev-env cometbft ## a validator with 10^6 entries: restart, memory, disk, snapshots (ARGS="--entries 100000" for a quick look)
	@$(BIN)/python bench/restart.py $(ARGS)

mutate: dev-env ## break the rules of contracts and ledger one line at a time; the tests must notice (ARGS="--sample 50 --seed 1")
	@$(BIN)/python tools/mutate.py $(ARGS)

lock: dev-env ## resolve requirements/*.in anew and write the hashed locks (UPGRADE=1 to take newer versions)
	@tools/lock.sh $(if $(UPGRADE),--upgrade)

cometbft: ## install the pinned CometBFT into .tools/bin, and build the verifier beside it
	@tools/cometbft.sh

run-env:
	@tools/bootstrap.sh run

dev-env:
	@tools/bootstrap.sh dev

clean: ## remove what was made here: environment, caches, the demo's data
	@rm -rf .venv .cache .tools build dist demo-data .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
