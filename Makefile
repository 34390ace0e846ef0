# Two commands matter: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
WORKERS ?= 2
PARALLEL = -n $(WORKERS) --dist worksteal

LOOPS := $(wildcard convcli/engines/native/*.[ch])
LIBRARY := convcli/engines/native/librows.so

.PHONY: demo test lint docs bench clean test-oldest test-newest test-corpora fuzz faults differential strace sanitize wheels test-torch

$(STAMP): pyproject.toml constraints.txt hatch_build.py $(LOOPS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	touch $@

demo: $(STAMP)
	$(BIN)/python samples/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documents as pages, in site/; a broken link is an error.  Nothing in them is fetched from other hosts.
docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# The suite with the oldest versions that pyproject.toml admits, and with the newest there are (torch as pinned).
test-oldest: VERSIONS := -c tests/constraints-oldest.txt
test-newest: VERSIONS := --upgrade torch==2.13.0
test-oldest test-newest: test-%:
	$(PYTHON) -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: $(VERSIONS) -e '.[test]'
	CONVCLI_UNPINNED=1 .venv-$*/bin/python -m pytest -p no:cacheprovider $(PARALLEL)

# Ten minutes: fetches other projects' test pictures once, writes tests/corpora/results.md.
test-corpora: $(STAMP)
	$(BIN)/python -m tests.corpora $(WORKERS)

# Some minutes each: 200,000 spoiled files and texts, jobs that are killed and starved, 2,000 random jobs against scipy
# and torch, every command under strace.  Each writes its results.md under tests/.
fuzz faults differential strace: $(STAMP)
	WORKERS=$(WORKERS) $(BIN)/python -m tests.$@

# What holds for every engine, and the documented commands, in a shell whose engine is torch.
test-torch: $(STAMP)
	CONVCLI_ENGINE=torch $(BIN)/python -m pytest -p no:cacheprovider $(PARALLEL) tests/engines/test_contract.py \
		tests/execution/test_blocks.py tests/test_readme.py

# The compiled loops under AddressSanitizer and UndefinedBehaviorSanitizer: their tests, two minutes.
sanitize: $(STAMP)
	$(BIN)/python hatch_build.py -g -fsanitize=address,undefined -fno-sanitize-recover=all
	LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
		$(BIN)/python -m pytest -p no:cacheprovider tests/engines/test_native.py tests/engines/test_ranks.py -k "not environment"; status=$$?; \
		rm convcli/engines/native/librows.so; $(BIN)/python hatch_build.py; exit $$status

# The wheel with compiled loops, and the one that runs everywhere.
wheels: $(STAMP)
	$(BIN)/python -m build --wheel --no-isolation
	CONVCLI_PURE=1 $(BIN)/python -m build --wheel --no-isolation

# A peer of the benchmarks that needs another OpenCV than the rest.
$(VENV)/peers/bin/dvr-scan: $(STAMP)
	$(PYTHON) -m venv $(VENV)/peers
	$(VENV)/peers/bin/python -m pip install --quiet --disable-pip-version-check dvr-scan==1.8.2.1

# Half an hour or more on a quiet machine; writes tables into benchmarks/.
bench: $(STAMP) $(VENV)/peers/bin/dvr-scan
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/table.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/estimates.py
	$(BIN)/python benchmarks/cuda.py
	$(BIN)/python benchmarks/video.py

clean:
	rm -rf $(VENV) .venv-oldest .venv-newest build dist *.egg-info demo-out .pytest_cache .mypy_cache .ruff_cache .hypothesis
