# The everyday commands. `make` alone lists them.
#
# RabbitMQ and PostgreSQL come from deploy/services, which prints AMQP_URL=... and DATABASE_URL=... for the commands that follow it.

SHELL := /bin/bash
.SHELLFLAGS := -eufo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test bench chaos lint doc fuzz down tools

# What `make bench` measures: figures mean something in a release build only.
PROFILE ?= release
# How long `make fuzz` runs each target.
FUZZ_SECONDS ?= 600

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: tools ## Build and run banklink with RabbitMQ and SQLite, a webhook, and a simulated Lean with a page to try, until Ctrl-C
	@urls=$$(deploy/services up rabbitmq); export $$urls; cargo build; exec deploy/demo

test: tools ## Start RabbitMQ and PostgreSQL and run every test
	@urls=$$(deploy/services up rabbitmq postgres); export $$urls; cores=$$(nproc); \
	  RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$((cores < 6 ? 6 : cores))} cargo test --workspace

bench: tools ## Measure throughput and latency, and the limits of this machine (BENCH="--quick --only drain ...")
	@urls=$$(deploy/services up rabbitmq postgres); export $$urls; cargo build --profile $(PROFILE) --features bench; \
	  exec target/$(subst dev,debug,$(PROFILE))/banklink-bench $(BENCH)

chaos: tools ## Inject faults and check that no webhook or event is lost or duplicated: 30 minutes (ARGS=--quick: 2 minutes)
	cargo test --test chaos -- $(ARGS)

lint: tools ## Check the formatting, the lints and the links between documents
	cargo fmt --all --check
	@# The path of each link, without the anchor; links with a scheme are skipped.
	@git ls-files '*.md' | while read -r document; do \
	  { grep -oP '\]\(\K[^)#:]+(?=[#)])' "$$document" || true; } | while read -r path; do \
	    [[ -e $$(dirname -- "$$document")/$$path ]] || { echo "$$document: no such file: $$path" >&2; exit 1; }; \
	  done; \
	done
	cargo clippy --workspace --all-targets --features bench -- -D warnings
	cargo clippy --test chaos --test soak -- -D warnings

doc: tools ## Build the API documentation, private items included; warnings are errors
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items

fuzz: tools ## Feed random input to the parsers, FUZZ_SECONDS (600) per target; needs nightly Rust and cargo-fuzz
	@cargo fuzz --version >/dev/null 2>&1 || { echo 'cargo-fuzz is missing; run: cargo install --locked cargo-fuzz' >&2; exit 1; }
	@cp Cargo.lock fuzz/Cargo.lock # fuzz the versions that the product is built with
	@for target in signature webhook merge message; do \
	  mkdir -p fuzz/corpus/$$target; \
	  cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target tests/fixtures -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -print_final_stats=1; \
	done

down: ## Stop the services that run, test or bench started, and delete their data
	@deploy/services down

# SQLite and the cryptography of the TLS library are compiled from C.
tools:
	@command -v cargo >/dev/null || { echo 'Rust is missing; see https://rustup.rs' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'A C compiler is missing; run: sudo apt-get install gcc libc6-dev' >&2; exit 1; }
