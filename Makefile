# Everything behind a target is a short script in scripts/. Each installs what is missing, or says the command that does.

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## play MiniWoB++ over 16 slots; writes out/demo/wall.png
	@scripts/demo.sh

test: ## run every test
	@scripts/test.sh

lint: ## formatting, lints and types; warnings are errors
	@scripts/lint.sh

bench: ## measure, BrowserGym too; writes out/bench (QUICK=1: less than three minutes)
	@scripts/bench.sh

parity: ## compare all MiniWoB++ tasks with BrowserGym
	@scripts/parity.sh

clean: ## remove what the other targets made
	rm -rf out .venv .venv-peer target python/*.egg-info

.PHONY: help demo test lint bench parity clean
