# What a newcomer types: `make run`, then `make test`. Everything else is in the README.

TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
RELEASE := $(TARGET_DIR)/release
VMRUN := $(RELEASE)/vmrun
export VMRUN
export VMRUN_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vmrun

.PHONY: run build test test-long bench fuzz lint man clean

# The main job: a busybox image, on a stock Debian kernel.
run: build
	@scripts/install-packages run
	@scripts/add-kernels
	@scripts/add-busybox
	$(VMRUN) run --rm --timing busybox sh /etc/tour

# vmrun, and beside it the guest's first process.
build:
	@scripts/install-packages build
	cargo build --quiet --release --locked -p vmrun
	RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --profile guest --locked -p guest-init \
		--target x86_64-unknown-linux-gnu
	install -m 755 $(TARGET_DIR)/x86_64-unknown-linux-gnu/guest/guest-init $(RELEASE)/guest-init

lint:
	cargo fmt --all --check
	for manifest in */fuzz/Cargo.toml; do cargo fmt --check --manifest-path $$manifest || exit; done
	cargo clippy --quiet --workspace --all-targets --locked -- -D warnings

# What runs at each landing.
test: build lint
	@scripts/install-packages run test kernel-build
	scripts/test

# Crash rounds, hours of fuzzing, many kernels.
test-long: build
	@scripts/install-packages run test kernel-build
	scripts/test --long

# A bounded minute for each fuzz target; FUZZ_SECONDS says how long.
fuzz:
	scripts/fuzz

bench: build
	@scripts/install-packages run test kernel-build
	scripts/bench

man: build
	mkdir -p $(TARGET_DIR)/man
	$(VMRUN) man $(TARGET_DIR)/man

clean:
	cargo clean
