# Two commands do all: `make demo` and `make test`. Each does its own set-up. `make bench` measures.

.DEFAULT_GOAL := help
.PHONY: help demo test test-all bench faults simulate stores parts versions deb test-deb install sbom bundle reproducible

help:
	@echo "make demo   build Portcullis and run its main job: a federation of ten nodes on this machine"
	@echo "            arguments go in ARGS:  make demo ARGS=\"--offices 40,20 --report report.json\""
	@echo "make test   the whole gate: formatting, clippy, tests, documentation, licences and sources"
	@echo "make test-all  the gate, and what is too long for it: fuzz targets, benchmarks of parts, long simulations, faults"
	@echo "make bench  measure an exchange between two processes, then its parts one by one; docs/performance.md"
	@echo "            arguments go in ARGS:  make bench ARGS=\"--report bench.json --catch-up 1000000\""
	@echo "make parts  only the parts of an exchange, one by one: make parts ARGS=--quick"
	@echo "make simulate SEEDS=100000  a federation on a virtual clock under faults; SEED=17 replays one run and prints it"
	@echo "make stores SEEDS=10000     random writes and crashes, SQLite against a model of the store; SEED=17 replays one sequence"
	@echo "make versions  a federation of an earlier version and this one, and the upgrade of a home: make versions REVISION=63fdade"
	@echo "make deb    the Debian package, in target/debian, of a binary that is built as it is shipped; ARGS=--quick takes the one in target/release"
	@echo "make test-deb  the package in a clean Debian 12: installed, used, upgraded, removed, purged"
	@echo "make install  for other systems: PREFIX=/usr/local DESTDIR= BINARY=target/release/portcullis"
	@echo "make bundle what goes to a site without a network, signed: MINISIGN_KEY=… APT_KEY=…, or ARGS=--trial"
	@echo "make sbom   what the binary is made of, as CycloneDX, in target/dist"
	@echo "make reproducible  builds what is shipped twice, in two folders, and compares the bytes; half an hour on two cores"
	@echo "make faults the long run of whole-process faults: 200 kills, disks, clocks, networks; writes target/faults-report.json"

demo:
	@scripts/demo $(ARGS)

test:
	@scripts/gate

test-all:
	@scripts/gate-all

bench:
	@scripts/bench $(ARGS)

faults:
	@scripts/faults $(KILLS)

simulate:
	@scripts/simulate "$(SEEDS)" "$(SEED)"

stores:
	@scripts/stores "$(SEEDS)" "$(SEED)"

parts:
	@scripts/parts $(ARGS)

versions:
	@scripts/versions $(REVISION)

deb:
	@scripts/deb $(ARGS)

test-deb:
	@scripts/test-deb $(PACKAGE)

install:
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" BINARY="$(BINARY)" scripts/install

sbom:
	@scripts/sbom

bundle:
	@scripts/bundle $(ARGS)

reproducible:
	@scripts/reproducible
