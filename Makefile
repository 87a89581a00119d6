# Forebay. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# A target may import only what it declares (docs/architecture.md, the table).
SWIFT_FLAGS := --explicit-target-dependency-import-check error
BUILD_CONFIGURATION ?= debug
# Where it was built is not in what is built: the same sources give the same binary in every folder.
REPRODUCIBLE := -Xswiftc -file-prefix-map -Xswiftc $(CURDIR)=. -Xcc -ffile-prefix-map=$(CURDIR)=. \
	-Xcxx -ffile-prefix-map=$(CURDIR)=.
# Places to die at, for the kill tests (Sources/Failpoints): in what is tested, not in what is run.
SWIFT_TEST_FLAGS := $(SWIFT_FLAGS) --traits Failpoints
# One build in ten swiftc 6.3.1 compiles some function in another way, by where in memory things come to lie. Where the
# machine allows it they always come to lie in the same places.
SAME_ADDRESSES := $(shell setarch -R true 2>/dev/null && echo setarch -R)
# Of release builds: each function by itself, so that what nobody calls can go and what runs can lie together.
RELEASE_FLAGS := $(shell cat packaging/release-flags)
# Of `make test-kill`: half of them at random moments, half at failpoints.
KILL_ROUNDS ?= 200
# Places at which `make test-powercut` cuts the power, and rounds of `make test-park`.
POWERCUT_CUTS ?= 200
PARK_ROUNDS ?= 50
# Distinct topics of `make test-hostile`.
HOSTILE_TOPICS ?= 1000000
# Real rows where they lie beside the repository; made-up ones otherwise.
DEMO_DATA := ../shared/data/nab
DEMO_OPTIONS ?= $(if $(wildcard $(DEMO_DATA)),--data $(DEMO_DATA))
# What `make deb` packs.
PACKED_BINARY = $(or $(FOREBAY_BINARY),$(CURDIR)/.build/release/forebay)
# Seconds that `make fuzz` runs, shared among the fuzzers.
FUZZ_SECONDS ?= 300
DEBIAN_PACKAGES := libmosquitto-dev libsqlite3-dev zlib1g-dev libzstd-dev libyaml-dev libssl-dev libpcre2-dev \
	mosquitto mosquitto-clients openssl python3 python3-venv util-linux procps chromium chromium-driver fonts-dejavu-core
# Unpacked into .tools/debian instead of installed: as packages they start servers that listen to everybody.
UNPACKED_PACKAGES := prometheus prometheus-alertmanager
# The compiler for arm64 and what it builds: 6 GB, outside the repository (docs/building-arm64.md).
export FOREBAY_ARM64_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/forebay-arm64
ARM64_BINARY := $(FOREBAY_ARM64_CACHE)/forebay
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## Install what the project needs to build, test and run (Debian packages)
	@missing=""; for package in $(DEBIAN_PACKAGES); do \
	  dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "installing:$$missing"; \
	  $(SUDO) apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) -E apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@# The tests' tools, in the tree: nothing of them is left on the machine.
	@for package in $(UNPACKED_PACKAGES); do \
	  [ -e .tools/debian/.$$package ] && continue; \
	  echo "unpacking: $$package"; \
	  mkdir -p .tools/debian; rm -f .tools/$${package}_*.deb; \
	  ( cd .tools; apt-get download -qq $$package 2>/dev/null || { $(SUDO) apt-get update -qq; apt-get download -qq $$package; }; \
	    dpkg -x $${package}_*.deb debian; rm -f $${package}_*.deb; touch debian/.$$package ); \
	done
	@cmp -s Tests/requirements.txt .tools/python/requirements.txt || { \
	  echo "installing: Tests/requirements.txt"; \
	  rm -rf .tools/python; python3 -m venv .tools/python; \
	  .tools/python/bin/pip install -q --disable-pip-version-check -r Tests/requirements.txt; \
	  cp Tests/requirements.txt .tools/python/; \
	}
	@command -v swift >/dev/null || { echo "Swift 6.2 or later is needed: https://www.swift.org/install/linux/"; exit 1; }

.PHONY: build
build: deps ## Build the forebay command
	swift build $(SWIFT_FLAGS) -c $(BUILD_CONFIGURATION) --product forebay

.PHONY: run
run: build ## Watch the whole way at work: broker, devices, daemon, upstream (Ctrl-C ends it)
	@"$$(swift build -c $(BUILD_CONFIGURATION) --show-bin-path)/forebay" demo $(DEMO_OPTIONS)

.PHONY: test
test: deps lint ## Everything that must hold: lint, build, every test
	swift build $(SWIFT_TEST_FLAGS) --build-tests
	@# The intake's tests block the threads that others' timers need: they go by themselves.
	swift test $(SWIFT_TEST_FLAGS) --skip-build --filter '^IngestTests'
	swift test $(SWIFT_TEST_FLAGS) --skip-build --skip EndToEndTests --skip IngestTests
	@# One at a time: each of these has a broker, a daemon and an upstream of its own, and deadlines.
	swift test $(SWIFT_TEST_FLAGS) --skip-build --filter EndToEndTests --no-parallel

.PHONY: test-kill
test-kill: deps ## Kill daemon and receiver KILL_ROUNDS times, with and without broker restarts (5 minutes)
	swift build $(SWIFT_TEST_FLAGS) --build-tests
	FOREBAY_KILL_ROUNDS=$(KILL_ROUNDS) FOREBAY_FIGURES=$(CURDIR)/docs/guarantees.md \
	  swift test $(SWIFT_TEST_FLAGS) --skip-build --filter EndToEndTests.KillTests --no-parallel

.PHONY: test-sanitize
test-sanitize: deps ## The end-to-end tests under the thread and the address sanitizer (an hour)
	@# Without the tests that preload a library of their own under the daemon, as the sanitizers do.
	@for sanitizer in thread address; do \
	  export FOREBAY_SANITIZE=$$sanitizer TSAN_OPTIONS=halt_on_error=1 ASAN_OPTIONS=detect_leaks=0; \
	  swift build --traits Failpoints --sanitize $$sanitizer --scratch-path .build-$$sanitizer --build-tests; \
	  swift test --traits Failpoints --sanitize $$sanitizer --scratch-path .build-$$sanitizer --skip-build \
	    --filter EndToEndTests --skip PowerCutTests --skip ParkingTests --no-parallel; \
	done

.PHONY: test-powercut
test-powercut: deps ## Cut the power at POWERCUT_CUTS places of a recorded run, in two ways each (5 minutes)
	swift build $(SWIFT_TEST_FLAGS) --build-tests
	FOREBAY_POWERCUT_CUTS=$(POWERCUT_CUTS) FOREBAY_FIGURES=$(CURDIR)/docs/guarantees.md \
	  swift test $(SWIFT_TEST_FLAGS) --skip-build --filter EndToEndTests.PowerCutTests --no-parallel

.PHONY: test-hostile
test-hostile: deps ## Send bad inputs of every kind, and a million topics (15 minutes)
	swift build $(SWIFT_TEST_FLAGS) --build-tests
	FOREBAY_HOSTILE_TOPICS=$(HOSTILE_TOPICS) FOREBAY_FIGURES=$(CURDIR)/docs/guarantees.md \
	  swift test $(SWIFT_TEST_FLAGS) --skip-build --filter EndToEndTests.HostileDeviceTests --no-parallel

.PHONY: test-park
test-park: deps ## Make the disk full or fail PARK_ROUNDS times under load (3 minutes)
	swift build $(SWIFT_TEST_FLAGS) --build-tests
	FOREBAY_PARK_ROUNDS=$(PARK_ROUNDS) FOREBAY_FIGURES=$(CURDIR)/docs/guarantees.md \
	  swift test $(SWIFT_TEST_FLAGS) --skip-build --filter EndToEndTests.ParkingTests --no-parallel

.PHONY: lint
lint: ## Check formatting and the house rules
	swift format lint --strict --recursive Package.swift Sources Tests Fuzz Benchmarks
	./.ci/house-rules

.PHONY: format
format: ## Format the sources in place
	swift format --in-place --recursive Package.swift Sources Tests Fuzz Benchmarks

.PHONY: bench
bench: DEBIAN_PACKAGES += valgrind
bench: deps ## Measure against references of the same run (15 minutes); exit status 1 when a bar is missed
	./Benchmarks/run

.PHONY: bench-record
bench-record: DEBIAN_PACKAGES += valgrind
bench-record: deps ## Measure, keep the run in Benchmarks/history and write docs/guarantees.md
	./Benchmarks/run --record

.PHONY: function-order
function-order: DEBIAN_PACKAGES += valgrind
function-order: deps ## Find anew which functions the release lays side by side (5 minutes and a release build)
	./Benchmarks/function-order

.PHONY: fuzz
fuzz: deps ## Fuzz every decoder of outside bytes for FUZZ_SECONDS seconds in all
	./Fuzz/run.sh $(FUZZ_SECONDS)

.PHONY: release release-binary
release: deps release-binary ## Build the release binary and check what it may contain
	./.ci/check-release "$$(swift build -c release --show-bin-path)/forebay"

release-binary:
	$(SAME_ADDRESSES) swift build $(SWIFT_FLAGS) $(RELEASE_FLAGS) $(REPRODUCIBLE) -c release --static-swift-stdlib --product forebay

.PHONY: deb
deb: DEBIAN_PACKAGES += debhelper dpkg-dev
deb: deps $(if $(FOREBAY_BINARY),,release-binary) ## Build the Debian packages into .build/deb (of FOREBAY_BINARY, where it is set)
	./packaging/build-deb --binary $(PACKED_BINARY)

.PHONY: test-package
test-package: DEBIAN_PACKAGES += debhelper dpkg-dev lintian piuparts debootstrap systemd-container curl
test-package: deb ## Install the packages in a Debian of their own that is booted with systemd (10 minutes, as root)
	$(SUDO) ./packaging/test/package.py --binary $(PACKED_BINARY) $(if $(PREVIOUS_DEB),--previous $(PREVIOUS_DEB))

.PHONY: test-reproducible
test-reproducible: DEBIAN_PACKAGES += debhelper dpkg-dev
test-reproducible: deps ## Build binary and packages twice, in two folders: the same bytes (two release builds)
	./packaging/test/reproducible.sh

.PHONY: arm64
arm64: DEBIAN_PACKAGES += binutils-aarch64-linux-gnu
arm64: deps ## Build the release binary for arm64 here, by a cross compiler (6 GB; half an hour the first time)
	./packaging/arm64/build $(ARM64_BINARY)

.PHONY: deb-arm64
deb-arm64: DEBIAN_PACKAGES += debhelper dpkg-dev qemu-user-static
deb-arm64: arm64 ## Build the Debian package for arm64, from that binary
	./packaging/arm64/package $(ARM64_BINARY)

.PHONY: test-arm64
test-arm64: deb-arm64 ## Run the package's arm64 daemon under emulation: 10,000 messages, a kill -9 between (a minute)
	./packaging/arm64/smoke-test "$$(ls -t .build/deb/forebay_*_arm64.deb | head -n1)"

.PHONY: clean
clean: ## Delete what was built
	rm -rf .build .build-* .tools
