# Short names for what one does every day. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup test demo check fix bench soak replicas load flat fuzz budget mutants nightly api hooks db deploy-check observe boards pooler image

# The soak's dice and size: make soak SEED=7 PAYMENTS=20000 STEPS=1000000
SEED ?= 20261120
PAYMENTS ?= 100000
STEPS ?= 10000000
# What is killed how often: make replicas SECONDS=60 REPLICAS=2 KILL_EVERY=5
REPLICAS ?= 4
KILL_EVERY ?= 10
RATE ?= 500
# Inputs for each reader: make fuzz CASES=20000
CASES ?= 1000000

help: ## list these names
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 16

setup: ## find PostgreSQL's server programs, or install them
	@dir=$$(./.ci/postgres) && echo "PostgreSQL: $$dir"

test: setup pooler ## format, lints and all tests: what must be green before a commit
	cargo fmt --check
	cargo clippy --all-targets --features observe -- -D warnings
	cargo test

pooler: ## find a pgbouncer that carries prepared statements, or fetch one into target/tools
	@program=$$(./.ci/pgbouncer) && echo "pgbouncer: $$program"

observe: ## every alert fired and ended, every panel filled, on a real Prometheus
	./.ci/postgres >/dev/null && ./.ci/prometheus >/dev/null
	cargo test --features observe --test it observability:: -- --nocapture

boards: ## the boards by Grafana's types, and drawn into docs/img (after observe)
	@./.ci/boards draw

demo: setup ## a day of simulated payments, reconciled for real
	cargo build
	cargo run -q -- demo

check: ## the quick look while writing
	cargo check --all-targets

fix: ## put right what tools can
	cargo fmt
	cargo clippy --fix --allow-dirty --allow-staged --all-targets
	cargo fmt

bench: setup ## what a check costs, as a ratio (release build)
	cargo run --release -- bench

soak: setup ## every fault we know on whole processes: 10^5 payments, then 10^7 steps of the pure core (SEED=, PAYMENTS=, STEPS=)
	REKON_SOAK_SEED=$(SEED) REKON_SOAK_PAYMENTS=$(PAYMENTS) cargo test --profile long --test it soak::under -- --nocapture
	REKON_SOAK_SEED=$(SEED) REKON_SOAK_STEPS=$(STEPS) cargo test --profile long --lib decide::tests::soak -- --nocapture

replicas: setup ## replicas on one Postgres, one killed -9 every few seconds: nothing lost or doubled, the budget kept (SECONDS=300, REPLICAS=4, KILL_EVERY=10)
	REKON_REPLICAS_SECS=$(or $(SECONDS),300) REKON_REPLICAS=$(REPLICAS) REKON_KILL_EVERY=$(KILL_EVERY) REKON_SOAK_SEED=$(SEED) \
	  cargo test --profile long --test it soak::replicas:: -- --nocapture

load: setup ## the API at so many requests a second, half of them new payments, beside a working sweep (RATE=500, SECONDS=60)
	REKON_LOAD_RATE=$(RATE) REKON_LOAD_SECS=$(or $(SECONDS),60) cargo test --profile long --test it soak::load:: -- --nocapture

flat: setup ## what a check, a claim, a scrape, a look and memory cost with 10^4, 10^5 and 10^6 pending rows (release build)
	cargo run --release -- bench --flat

fuzz: ## a million bent inputs for each reader of what strangers send: no panic, no amount that differs from its text (CASES=, SEED=)
	REKON_FUZZ_CASES=$(CASES) REKON_FUZZ_SEED=$(SEED) cargo test --profile long --test it fuzz:: -- --nocapture

budget: setup ## eight replicas on one account: at least 95 % of its call budget used, never more, through kills, 429 storms and wrong clocks (SECONDS=30)
	REKON_SOAK_SECS=$(or $(SECONDS),30) cargo test --profile long --test it replicas::eight:: -- --nocapture --test-threads 1

mutants: setup ## the whole suite, then each historic bug put in and a test failing on money or state; the table: target/mutants.md (MUTANTS_SUITE=skip)
	./tests/mutants/run

nightly: ## every long or tool-hungry target once, before a release: what passed stands in target/nightly.md (hours)
	@./.ci/nightly

api: setup ## the API against its own document (Python, package index)
	./.ci/api

hooks: ## webhooks verified by libraries that are not ours (Python, npm, package indexes)
	./.ci/hooks

db: setup ## psql into the running embedded database
	@./.ci/psql

image: ## the image of deploy/Dockerfile, really built and run (root, buildah, debootstrap; minutes)
	@./deploy/image

deploy-check: ## manifests, Dockerfile, unit and image against the real tools
	@./deploy/check
