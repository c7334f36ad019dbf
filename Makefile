# What a person or a machine does with this checkout. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
.NOTPARALLEL:

BIN := .venv/bin
export PIP_CACHE_DIR ?= $(CURDIR)/.cache/pip
PACKAGES_DEMO := python3 python3-venv mosquitto
PACKAGES_TEST := $(PACKAGES_DEMO) curl dosfstools dpkg e2fsprogs git mtools openssl
PACKAGES_DEB := python3 python3-venv dpkg git
PACKAGES_DEVICE := $(PACKAGES_TEST) dosfstools iproute2 kmod lintian mmdebstrap mosquitto-clients mtools nftables openssh-client openssh-server \
	procps sudo udev util-linux zstd
PACKAGES_TRUTH := $(PACKAGES_DEVICE)
PACKAGES_BOOT := $(PACKAGES_DEVICE) systemd systemd-container
PACKAGES_VM := $(PACKAGES_BOOT) busybox-static cpio e2fsprogs kmod qemu-system-x86 qemu-utils
PACKAGES_PI := $(PACKAGES_VM) arch-test dosfstools mtools qemu-system-arm qemu-user-static
PACKAGES_FLEET := $(PACKAGES_TEST) bmap-tools fdisk mount nats-server postgresql rabbitmq-server util-linux
PACKAGES_CHAOS := $(PACKAGES_TEST) iproute2 mosquitto-clients mount nftables util-linux
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input install
EXPORT := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

# Whatever a test of real daemons leaves behind ends with these namespaces; the shell, their first process, buries orphans.
CONTAINED := unshare --mount --pid --fork --kill-child --mount-proc --propagation private -- bash -c '"$$@"; exit $$?' --
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=CI,PYTEST_ADDOPTS,PRIVET_CHAOS_SEED,PRIVET_CHAOS_READINGS,PRIVET_CRASH_STATES,PRIVET_CUTS,PRIVET_DIFFER_SEED,PRIVET_STARTS --)

.PHONY: help demo test check tools bench bench-fleet bench-telemetry test-device test-truth test-crash test-boot test-vm test-radio test-fleet test-chaos test-pi docs lock wheel deb clean debian-demo debian-test debian-device debian-truth debian-boot debian-vm debian-fleet debian-chaos debian-pi debian-deb

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: debian-demo .venv/host ## see the whole life of a simulated device, in under a minute
	@$(BIN)/privet-fleet demo

test: tools ## all that needs neither root nor a network: gates, laws, simulated devices, MicroPython (5 min)
	@$(BIN)/pytest -q -n 2 --dist worksteal

check: tools ## the gates alone: lint, types, rows of the house, spelling, tables, budgets (half a minute)
	@$(BIN)/pytest -q tests/test_checks.py tests/test_layers.py tests/test_readmes.py

# Every tool has its say before the verdict.
tools: debian-test .venv/test
	@verdict=0; judge() { echo "$$1"; shift; "$$@" || verdict=1; }; quiet() { out=$$("$$@" 2>&1) || { echo "$$out"; false; }; }; \
	judge "ruff" $(BIN)/ruff check --quiet --output-format concise; \
	judge "ruff format" $(BIN)/ruff format --check --quiet --output-format concise; \
	judge "mypy" $(BIN)/mypy --no-error-summary; \
	judge "import-linter" quiet $(BIN)/lint-imports --cache-dir .cache/import-linter; \
	judge "codespell" $(BIN)/codespell; \
	judge "tables and promises" $(BIN)/python -m tests.docs_tables --check; \
	exit $$verdict

bench: debian-device .venv/test ## measure memory, reaction times and throughput against the budgets (root)
	@$(AS_ROOT) $(BIN)/python -m tests.bench

bench-fleet: debian-fleet .venv/test ## measure flashing beside dd and bmaptool, and what makes each card its own (root)
	@$(AS_ROOT) $(BIN)/python -m tests.bench fleet

bench-telemetry: debian-chaos .venv/test ## measure readings per second, latency and cost beside plain peers, for 1 to 1,000 devices (root)
	@$(AS_ROOT) $(BIN)/python -m tests.bench telemetry

test-device: debian-device .venv/test ## real sshd, nft, chpasswd and mosquitto in namespaces of their own (root, 15 min)
	@$(AS_ROOT) env PYTHONDONTWRITEBYTECODE=1 $(CONTAINED) $(BIN)/pytest -q -n 2 --dist loadfile -o cache_dir=.cache/pytest-device tests/device

# Lynis and OpenSCAP are in the devices' tree, not on this machine.
test-truth: debian-truth .venv/test ## what is really open, beside our word, Lynis' and OpenSCAP's on the same states (root, 5 min)
	@$(AS_ROOT) env PYTHONDONTWRITEBYTECODE=1 $(CONTAINED) $(BIN)/pytest -q -n 2 --dist worksteal -o cache_dir=.cache/pytest-truth tests/truth
	@$(AS_ROOT) env PYTHONDONTWRITEBYTECODE=1 $(BIN)/python -m tests.truth.table
	@$(BIN)/python -m tests.docs_tables

test-crash: debian-vm .venv/test ## thousands of power cuts on real file systems, block by block (root)
	@$(AS_ROOT) env PYTHONDONTWRITEBYTECODE=1 $(CONTAINED) $(BIN)/pytest -q -o cache_dir=.cache/pytest-crash tests/crash

test-boot: debian-boot .venv/test ## the package on a Debian that systemd really booted, in containers (root)
	@$(AS_ROOT) env PYTHONDONTWRITEBYTECODE=1 $(CONTAINED) $(BIN)/pytest -q -o cache_dir=.cache/pytest-boot tests/boot

test-vm: debian-vm .venv/test ## the package on virtual machines with a kernel of their own: power cuts, clocks, limits (root)
	@$(AS_ROOT) env PYTHONDONTWRITEBYTECODE=1 $(CONTAINED) $(BIN)/pytest -q -n 2 --dist loadfile -o cache_dir=.cache/pytest-vm tests/vm

test-radio: debian-vm .venv/test ## Wi-Fi and Bluetooth on a kernel that plays them, beside our word (root, 20 min)
	@$(AS_ROOT) env PYTHONDONTWRITEBYTECODE=1 $(CONTAINED) $(BIN)/pytest -q -o cache_dir=.cache/pytest-radio tests/radio

test-fleet: debian-fleet .venv/test ## whole fleets: real brokers of three kinds, every misconfiguration, every door (root, 5 min)
	@$(AS_ROOT) env PYTHONDONTWRITEBYTECODE=1 $(CONTAINED) $(BIN)/pytest -q -n 2 --dist worksteal -o cache_dir=.cache/pytest-fleet tests/fleet/site

# A network of its own, in which packets are lost; nothing of it is seen outside.
test-chaos: debian-chaos .venv/test ## 200,000 readings of 200 devices through all that breaks; PRIVET_CHAOS_SEED repeats a run (root, 4 min)
	@$(AS_ROOT) env PYTHONDONTWRITEBYTECODE=1 unshare --net -- $(CONTAINED) $(BIN)/pytest -q -s -o cache_dir=.cache/pytest-chaos tests/storm

# PART is one of arm, pi, recovery, removal; the last two begin with a kept card, and make one first where there is none.
test-pi: debian-pi .venv/test ## a card for an emulated Raspberry Pi 3, from our own tools to its removal; before a release (root, 35 min; PART=recovery)
	@$(AS_ROOT) env PYTHONDONTWRITEBYTECODE=1 $(CONTAINED) $(BIN)/pytest -q -o cache_dir=.cache/pytest-pi tests/pi$(if $(PART),/test_$(PART).py)

docs: .venv/test ## write the tables in the README files anew from what they tell about
	@$(BIN)/python -m tests.docs_tables

lock: .venv/test ## choose the newest allowed versions of all Python packages and pin them with their hashes
	@$(PIP) --require-hashes --only-binary :all: -r requirements/lock.txt
	@for name in test lock; do $(EXPORT) --upgrade requirements/$$name.in -o requirements/$$name.txt; done
	@$(EXPORT) --upgrade --no-emit-package netifaces requirements/octoprint.in -o requirements/octoprint.txt
	@for name in host device; do $(EXPORT) -c requirements/test.txt requirements/$$name.in -o requirements/$$name.txt; done

wheel: debian-demo .venv/host ## build the Python package into dist/
	@$(BIN)/python -m pip --quiet --disable-pip-version-check wheel --no-deps --no-build-isolation -w dist . && ls dist

deb: debian-deb .venv/host ## build the Debian package into dist/; for other machines: make deb ARCH="amd64 arm64 armhf"
	@$(BIN)/python -m provisioning.package --out dist --arch "$(ARCH)"

clean: ## remove all that was made here, .venv included
	@rm -rf .venv .cache build dist demo
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

debian-demo:
	@requirements/debian.sh $(PACKAGES_DEMO)
debian-test:
	@requirements/debian.sh $(PACKAGES_TEST)
debian-device:
	@requirements/debian.sh $(PACKAGES_DEVICE)
debian-truth:
	@requirements/debian.sh $(PACKAGES_TRUTH)
debian-boot:
	@requirements/debian.sh $(PACKAGES_BOOT)
debian-vm:
	@requirements/debian.sh $(PACKAGES_VM)
debian-fleet:
	@requirements/debian.sh $(PACKAGES_FLEET)
debian-chaos:
	@requirements/debian.sh $(PACKAGES_CHAOS)
debian-pi:
	@requirements/debian.sh $(PACKAGES_PI)
debian-deb:
	@requirements/debian.sh $(PACKAGES_DEB)

# .venv/host and .venv/test mark what is installed: the exports, and this checkout itself beside them.
.venv/host .venv/test: .venv/%: requirements/%.txt pyproject.toml | .venv/bin/python
	@echo "Python packages for $*: into .venv"
	@$(PIP) --require-hashes --only-binary :all: -r requirements/$*.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# Debian's own Python where it is new enough, else the one on the path.
.venv/bin/python:
	@for python in /usr/bin/python3 python3; do \
		"$$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		"$$python" -m venv .venv; exit; \
	done; echo "Privet needs Python 3.11 or newer with its venv module; install one and run this again." >&2; exit 69
