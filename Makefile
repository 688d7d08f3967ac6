# Needs Python 3.11 with venv, and either Docker or root on Debian with Go. The rest is fetched, pinned, once.
PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
READY  := $(VENV)/.ready

# Tracebacks without columns: Python 3.11 parses code for them, and fails where two threads do so at once (gh-106905).
export PYTHONNODEBUGRANGES := 1

CODE := operator serving-image hack tests bench examples

# The fast tests run as processes side by side, the longest first; one alone imports what trains models.
PARTS     := test-rest test-laws test-models test-decisions
DECISIONS := tests/unit/kinds tests/unit/evidence tests/unit/core tests/unit/traffic
MODELS    := tests/unit/toolbox
BESIDE    := --jobs=$(shell nproc 2>/dev/null || echo 2) $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
# What pytest compiles is kept, or each run would compile all of it again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv up down status images check lint types layers unit generate verify contract apiserver e2e test demo
.PHONY: $(PARTS)

# $(call timed,NAME,COMMAND): run a command and say how long it took.
define timed
@began=$$(date +%s); $(2); code=$$?; echo "== $(1): $$(( $$(date +%s) - began )) s"; exit $$code
endef

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(READY) ## Install the pinned Python packages into .venv

$(READY): requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(call timed,venv,$(RUN) -m pip install --quiet --require-hashes --requirement requirements/dev.txt)
	@touch $(READY)

up: venv ## Bring up a real Kubernetes on this machine (kind, or processes where Docker cannot run it)
	@$(RUN) -m hack.cluster up

down: venv ## Take the cluster down and leave nothing of it but the cache
	@$(RUN) -m hack.cluster down

status: venv ## Show what the cluster runs
	@$(RUN) -m hack.cluster status

images: venv ## Build the images and load them into the cluster
	@$(RUN) -m hack.images load

demo: venv ## Show all of it: cluster, install, train, serve, roll out, scale, retrain
	@$(RUN) -m hack.demo

generate: venv ## Write CRDs, chart copies and reference pages from the models
	@$(RUN) -m hack.generate

verify: venv ## Check that what `generate` writes is what is committed
	$(call timed,verify,$(RUN) -m hack.generate --check)

check: venv ## The fast checks: lint, types, layers, unit and property tests
	$(call timed,check,$(MAKE) --no-print-directory $(BESIDE) lint layers types $(PARTS))

lint: venv
	$(call timed,lint,$(RUN) -m ruff check $(CODE) && $(RUN) -m ruff format --check $(CODE))

types: venv
	$(call timed,types,$(RUN) -m mypy -p trimtab -p trimtab_serving -p trimtab_toolbox -p hack)

layers: venv
	$(call timed,layers,PYTHONPATH=operator:serving-image $(VENV)/bin/lint-imports --no-cache)

unit: venv
	$(call timed,unit,$(MAKE) --no-print-directory $(BESIDE) $(PARTS))

test-laws: venv
	$(call timed,laws,$(RUN) -m pytest tests/property -q)

test-decisions: venv
	$(call timed,decisions,$(RUN) -m pytest $(DECISIONS) -q)

test-models: venv
	$(call timed,models,$(RUN) -m pytest $(MODELS) -q)

test-rest: venv
	$(call timed,rest,$(RUN) -m pytest tests/unit $(addprefix --ignore=,$(DECISIONS) $(MODELS)) -q)

contract: venv
	$(call timed,contract,$(RUN) -m pytest tests/contract -q)

apiserver: venv ## Tests against a real API server (no node)
	$(call timed,apiserver,$(RUN) -m pytest tests/apiserver -q)

e2e: up images ## Tests on the whole cluster
	$(call timed,e2e,$(RUN) -m pytest tests/e2e -q)

test: ## Everything, fast things first
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory verify
	@$(MAKE) --no-print-directory contract
	@$(MAKE) --no-print-directory apiserver
	@$(MAKE) --no-print-directory e2e
