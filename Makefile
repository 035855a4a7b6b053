# Two commands do all the set-up by themselves: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo check test costs bench clean

# A whole tunnel on this machine. ARGS=--keep leaves the proxy up until Ctrl-C.
demo: $(READY)
	@$(BIN)/wraith demo $(ARGS)

# Format, lint, types, import contracts, fast tests with coverage.
check: $(READY)
	scripts/check

# Everything: the checks, and the tests against real peers.
test: $(READY)
	scripts/test

# System calls and instructions of each message, connection and megabyte, against their ceilings.
costs: $(READY)
	$(BIN)/python -m bench.costs

# Side by side with OpenSSH and others. ARGS="--quick" for a minute's worth.
bench: $(READY)
	@$(BIN)/python -m pip install --quiet --group bench
	@$(BIN)/python -m bench $(ARGS)

$(READY): pyproject.toml scripts/setup
	scripts/setup $(PYTHON)

clean:
	rm -rf .venv build dist bench/out .coverage .mypy_cache .ruff_cache .pytest_cache
