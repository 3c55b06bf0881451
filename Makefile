# The commands of every day. `make` alone lists them.
#
# Services (RabbitMQ, PostgreSQL) come from deploy/services, which prints AMQP_URL=… and DATABASE_URL=…; recipes hand those on.

SHELL := /bin/bash
.SHELLFLAGS := -eufo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test chaos lint down tools

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: tools ## See the whole job done on one webhook, then stay up until Ctrl-C
	@urls=$$(deploy/services up rabbitmq); export $$urls; cargo build; exec deploy/demo

test: tools ## Bring RabbitMQ and PostgreSQL up and run every test
	@urls=$$(deploy/services up rabbitmq postgres); export $$urls; cargo test --workspace

chaos: tools ## Prove that nothing is lost or doubled while everything fails: 20 minutes, or ARGS=--quick: 2
	cargo test --test chaos -- $(ARGS)

lint: tools ## Check the formatting and the lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --test chaos -- -D warnings

down: ## Stop the services that run or test started, and delete their data
	@deploy/services down

# The bundled SQLite and the TLS library contain C.
tools:
	@command -v cargo >/dev/null || { echo 'Rust is missing: see https://rustup.rs' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'a C compiler is missing: sudo apt-get install gcc libc6-dev' >&2; exit 1; }
