# The commands of every day. `make` alone lists them.
#
# Services (RabbitMQ, PostgreSQL) come from deploy/services, which prints AMQP_URL=… and DATABASE_URL=…; recipes hand those on.

SHELL := /bin/bash
.SHELLFLAGS := -eufo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test bench chaos lint fuzz down tools

# How long `make fuzz` tries each target.
FUZZ_SECONDS ?= 600

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: tools ## See the whole job done on one webhook, then stay up until Ctrl-C
	@urls=$$(deploy/services up rabbitmq); export $$urls; cargo build; exec deploy/demo

test: tools ## Bring RabbitMQ and PostgreSQL up and run every test
	@urls=$$(deploy/services up rabbitmq postgres); export $$urls; cargo test --workspace

bench: tools ## Measure throughput and latency beside what the machine allows (BENCH="--quick --only drain ...")
	@urls=$$(deploy/services up rabbitmq postgres); export $$urls; cargo build --release --features bench; \
	  exec target/release/banklink-bench $(BENCH)

chaos: tools ## Prove that nothing is lost or doubled while everything fails: 20 minutes, or ARGS=--quick: 2
	cargo test --test chaos -- $(ARGS)

lint: tools ## Check the formatting and the lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features bench -- -D warnings
	cargo clippy --test chaos --test soak -- -D warnings

fuzz: tools ## Feed the parsers random input, FUZZ_SECONDS (600) each: needs a nightly compiler and cargo-fuzz
	@cargo fuzz --version >/dev/null 2>&1 || { echo 'cargo-fuzz is missing: cargo install --locked cargo-fuzz' >&2; exit 1; }
	@cp Cargo.lock fuzz/Cargo.lock # the versions that the product is built with
	@for target in signature webhook merge message; do \
	  mkdir -p fuzz/corpus/$$target; \
	  cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target tests/fixtures -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -print_final_stats=1; \
	done

down: ## Stop the services that run, test or bench started, and delete their data
	@deploy/services down

# The bundled SQLite and the TLS library's cryptography contain C.
tools:
	@command -v cargo >/dev/null || { echo 'Rust is missing: see https://rustup.rs' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'a C compiler is missing: sudo apt-get install gcc libc6-dev' >&2; exit 1; }
