# The front door for people with make. Each target does everything it needs; canary.py holds the logic (it also works alone).
#
#   make run                               a demonstration on simulated sound
#   make run AUDIO="/data/my recordings"   your own file or folder   [OUTPUT=folder] [PROFILE=beluga]
#   make report OUTPUT="out/2022"          the tables of a run to one page, OUTPUT/report.html   [ARGS='--audio "/data/2022" --time-zone America/Toronto']
#   make experiment NAME=watkins_beluga    training/experiments/NAME.yaml to results/NAME, model and analysis   [ARGS=--again, --full]
#   make experiments                       all that are missing or whose parameters changed                    [ARGS=--list]
#   make test                              all tests                 [ARGS="-k levels"]
#   make lint                              faults in the code, direction of imports, types   [ARGS=ruff]
#   make setup | bench | notebooks | clean (ALL=1: .venv too)

CANDIDATES = python3.11 python3.12 python3.13 python3 python py
PYTHON ?= $(or $(shell for p in $(CANDIDATES); do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done),python3)

# Exported, so that the shell and not make quotes them (a path may hold blanks), under names that nothing else reads.
export RUN_AUDIO = $(AUDIO)
export RUN_OUTPUT = $(OUTPUT)
export RUN_PROFILE = $(PROFILE)

.PHONY: help setup run report experiment experiments test lint bench notebooks clean distclean
help:
	@grep '^#   ' Makefile | cut -c5-

setup:
	@"$(PYTHON)" canary.py setup

run:
	@"$(PYTHON)" canary.py run --audio "$$RUN_AUDIO" --output "$$RUN_OUTPUT" --profile "$$RUN_PROFILE"

report:
	@"$(PYTHON)" canary.py report "$$RUN_OUTPUT" $(ARGS)

experiment:
	@"$(PYTHON)" canary.py experiment $(NAME) $(ARGS)

experiments:
	@"$(PYTHON)" canary.py experiment $(if $(filter --list,$(ARGS)),,--all) $(ARGS)

test:
	@"$(PYTHON)" canary.py test $(ARGS)

lint:
	@"$(PYTHON)" canary.py lint $(ARGS)

bench:
	@"$(PYTHON)" canary.py bench $(ARGS)

notebooks:
	@"$(PYTHON)" canary.py notebooks $(ARGS)

clean:
	@"$(PYTHON)" canary.py clean $(if $(ALL),--all)

distclean:
	@"$(PYTHON)" canary.py clean --all
