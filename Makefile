# Every command a person needs. `make setup EXTRA=gpu` installs the GPU variant; everything else is the same there.
SHELL := /bin/sh
BIN := .venv/bin
STAMP := .venv/.installed
# The stamp holds the variant that is installed, so that later commands need not repeat EXTRA.
EXTRA ?= $(or $(shell cat $(STAMP) 2>/dev/null),cpu)
LOCK_cpu := requirements/cpu.txt
LOCK_gpu := requirements/gpu-constraints.txt
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-star demo-r1 demos test test-unit test-integration lint bench clean

help:
	@echo "make setup   install into .venv (EXTRA=gpu for GPUs)"
	@echo "make demo    train the demo, a few minutes on two cores"
	@echo "make demo-star  the same task by STaR: the policy learns from its own right answers"
	@echo "make demo-r1    the recipe of DeepSeek-R1 in small: a pipeline of twelve runs"
	@echo "make demos   every recipe for CPUs, one after the other"
	@echo "make test    lint, unit tests, integration tests"
	@echo "make bench   measure, and write docs/benchmarks.md"
	@echo "make clean   remove .venv and caches; runs/ stays"
	@echo "parts of make test: make lint, make test-unit, make test-integration"

setup: $(STAMP)

ifeq ($(LOCK_$(EXTRA)),)
$(error EXTRA=$(EXTRA) is not a variant of rayzero: use EXTRA=cpu or EXTRA=gpu)
endif

$(STAMP): $(LOCK_$(EXTRA)) pyproject.toml
	@for python in python3.11 python3; do \
		if $$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then break; fi; python=; \
	done; \
	if [ -z "$$python" ]; then \
		echo "rayzero needs Python 3.11, and neither python3.11 nor python3 is one: install it, then run make again." >&2; \
		exit 1; \
	fi; \
	[ -x $(BIN)/python ] || $$python -m venv .venv
	@if [ -s $@ ] && [ "$$(cat $@)" != "$(EXTRA)" ]; then \
		echo "this .venv holds the $$(cat $@) variant: run make clean before make setup EXTRA=$(EXTRA)." >&2; \
		exit 1; \
	fi
	@echo "installing the $(EXTRA) variant into .venv (about three minutes the first time)"
	@$(MAKE) --no-print-directory install-$(EXTRA)
	@echo "$(EXTRA)" > $@

# --no-deps: the lock is complete, and it leaves out torchvision, torchaudio and torchcodec on purpose
# (requirements/README.md).
.PHONY: install-cpu install-gpu
install-cpu:
	@$(BIN)/pip install -qq --no-deps -r $(LOCK_cpu) || { \
		echo "If torch==2.13.0+cpu was not found: add the index of PyTorch's CPU wheels to pip with" \
			"PIP_EXTRA_INDEX_URL (docs/install.md)." >&2; exit 1; }
	@$(BIN)/pip install -qq --no-deps --no-build-isolation -e .
	@echo "compiling DeepSpeed's shared-memory collectives (about a minute the first time)"
	@DS_ACCELERATOR=cpu $(BIN)/python -m actors.deepspeed_ops >/dev/null || { \
		echo "DeepSpeed's op does not compile: it needs g++ and Python's headers (docs/install.md)." >&2; exit 1; }

install-gpu:
	@$(BIN)/pip install -qq "setuptools>=78" wheel
	@$(BIN)/pip install -qq -c $(LOCK_gpu) torch
	@$(BIN)/pip install -qq -c $(LOCK_gpu) -e ".[gpu,dev]"

demo: setup
	$(BIN)/rayzero train configs/demo.yaml --overwrite

demo-star: setup
	$(BIN)/rayzero train configs/demo_star.yaml --overwrite

demo-r1: setup
	$(BIN)/rayzero train configs/r1_pipeline_cpu.yaml --overwrite

# In this order: some recipes read what others leave. BEFORE_x is what a recipe needs besides.
DEMOS := demo demo_star code_cpu countdown_cpu countdown_star_cpu rejection_cpu distill_hard_cpu distill_soft_cpu \
	distill_on_policy_cpu sky_t1_cpu outcome_model_cpu step_labels_cpu process_model_cpu demo_reward_model \
	preference_model_cpu journey_source_cpu journey_cpu shortcut_cpu r1_zero_cpu r1_pipeline_cpu

BEFORE_sky_t1_cpu := $(BIN)/rayzero train configs/rejection_cpu.yaml name=answers rejection.accept=all --overwrite
BEFORE_preference_model_cpu := $(BIN)/python -m benchmarks.preference_pairs runs/preference_pairs.jsonl
BEFORE_journey_cpu := $(BIN)/rayzero journey runs/journey_source --out runs/journey_source/traces --transition "!" --pairs 2

define RUN
	$(BEFORE_$(1))
	$(BIN)/rayzero train configs/$(1).yaml --overwrite

endef

demos: setup
	$(foreach recipe,$(DEMOS),$(call RUN,$(recipe)))

test: setup lint test-unit test-integration

test-unit: setup
	$(BIN)/pytest -q -m unit -n 2

test-integration: setup
	$(BIN)/pytest -q -m integration

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: setup
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
