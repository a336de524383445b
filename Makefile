# Two commands do all: `make demo` and `make test`. Each does its own set-up.

.DEFAULT_GOAL := help
.PHONY: help demo test

help:
	@echo "make demo   build Portcullis and run its main job: a federation of ten nodes on this machine"
	@echo "            arguments go in ARGS:  make demo ARGS=\"--offices 40,20 --report report.json\""
	@echo "make test   the whole gate: formatting, clippy, tests, documentation, licences and sources"

demo:
	@scripts/demo $(ARGS)

test:
	@scripts/gate
