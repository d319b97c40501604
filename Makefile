# Each target sets up its own .venv first and needs nothing but Python 3.11 or newer.
#   make demo [ARGS="--exit"]   the whole plant on this machine, then its verification
#   make test                   the tests
#   make faults                 the whole fault table, and the crash tests in full
#   make browser                the web app in a real browser (Chromium, and fonts with Chinese)
#   make check                  lint, types, layers
#   make bench                  benchmarks

PYTHON ?= python3
BIN := .venv/bin
INFLUXD := .tools/influxd
export STARPROOF_INFLUXD ?= $(CURDIR)/$(INFLUXD)

.PHONY: demo test faults browser check bench influxd clean

demo: .venv/ready
	$(BIN)/starproof demo $(ARGS)

# Two at a time, but what runs the whole chain alone and last. Code 5: ARGS selects nothing in this part.
test: .venv/ready influxd
	@$(BIN)/pytest -m "not chain and not faults and not slow and not browser" -n 2 --dist loadfile $(ARGS); quick=$$?; \
	$(BIN)/pytest -m "chain and (quick or not faults) and not slow" $(ARGS); chain=$$?; \
	case $$quick$$chain in 00|05|50) ;; *) exit 1;; esac

faults: .venv/ready influxd
	$(BIN)/pytest -m "faults or slow" $(ARGS)
	$(BIN)/python -m tests.faults.table

browser: .venv/ready
	$(BIN)/pytest -m browser $(ARGS)

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: .venv/ready
	@for bench in bench/*.py; do $(BIN)/python $$bench || exit 1; done

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "starproof needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# A real InfluxDB for the tests that need one: built where Go is at hand, otherwise those tests say that they were skipped.
influxd:
	@if [ -x $(INFLUXD) ] || [ -x "$$STARPROOF_INFLUXD" ] || command -v influxd >/dev/null; then :; \
	elif command -v go >/dev/null; then \
	  echo "building influxd 1.8.10 (about a minute)"; \
	  GOBIN=$(CURDIR)/.tools go install github.com/influxdata/influxdb/cmd/influxd@v1.8.10 || echo "no influxd: its tests are skipped"; \
	else echo "neither influxd nor Go here: the InfluxDB tests are skipped"; fi

clean:
	rm -rf .venv .tools demo-plant .pytest_cache .ruff_cache .hypothesis
