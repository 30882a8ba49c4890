# The targets below run `make setup`, which installs missing Debian packages. It prints its command first, and stops if
# the user may not run it. The build fetches the Swift packages.
export ZKQ_STRICT = 1
# The commit that `zkq --version` prints.
export ZKQ_COMMIT := $(or $(shell git describe --always --dirty --exclude='*' --abbrev=12 2>/dev/null),unknown)

# With SERVER=trixie, the targets use the servers of that Debian suite: make test SERVER=trixie.
ifdef SERVER
export ZOOKEEPER_CLASSPATH := $(shell scripts/server-release $(SERVER))
$(if $(ZOOKEEPER_CLASSPATH),,$(error scripts/server-release $(SERVER) has failed))
endif

# Links Swift's runtime into the programs, because the machines on which they run may have none. The linker leaves out
# the functions that a program does not call, which it can do only if the program exports none.
RELEASE = swift build -c release --static-swift-stdlib -Xcc -ffunction-sections -Xcc -fdata-sections \
    -Xlinker --gc-sections -Xlinker --no-export-dynamic

# With BUILT=1, the targets use what is built already: CI builds everything once.
build = $(if $(BUILT),@true,$(1))

# Runs the faults, and once more after the exit code 3: the servers themselves have lost acknowledged writes or do not
# agree, as those of Debian 12 sometimes do, and the run has shown nothing about the queue.
verdict = $(1) || { [ $$? = 3 ] && $(1); }

# TRANSPORT=nio or TRANSPORT=tls connects the workers of the faults by SwiftNIO.
faults_transport = $(if $(TRANSPORT),--transport $(TRANSPORT))

.PHONY: api fuzz monitoring build-tests minimal-user faults-standard faults-change demo test test-servers proof proof-in-memory proof-previous previous-release page kazoo faults faults-legacy faults-everything soak release static-zkq install benchmark benchmark-gateway benchmark-delays benchmark-groups benchmark-check setup build examples \
    lint format docs clean

## A narrated end-to-end run against a real ZooKeeper that it starts.
demo: setup
	$(call build,$(RELEASE) --product demo)
	.build/release/demo

# The product of all tests. `swift build --build-tests` would also build every snippet and example.
TESTS = zookeeper-queuePackageTests

build-tests: setup
	$(call build,swift build $(DEBUG_FLAGS) --product $(TESTS))

## The tests, against real ZooKeeper servers. SCHEDULES=, ROLLOVERS= and FUZZ= set the numbers of random runs.
## SEED= repeats the same schedules.
test: build-tests
	scripts/test

## The tests of the client, the queue, the test kit, the jobs and the recipes that use real servers, for example with
## SERVER=trixie and with TRANSPORT=nio or TRANSPORT=tls.
test-servers: build-tests
	ZKQ_TRANSPORT=$(TRANSPORT) scripts/test \
	    --filter '^(ZooKeeperTests|ZooKeeperQueueTests|TestKitTests)\.|JobWorkerTests|RecipeTests' \
	    --skip 'StateMachineTests|QueuedSendTests|OddNodeTests|HandlerTimeoutTests|MessageLookupTests|under any fault'

## The longer tests: more pairs of faults, schedules and rollovers, the previous release beside this one, and `faults`.
proof: proof-in-memory proof-previous faults

previous-release: setup
	scripts/previous-release

proof-in-memory: build-tests
	EXHAUSTIVE=$(or $(EXHAUSTIVE),20) SCHEDULES=$(or $(SCHEDULES),5000) ROLLOVERS=$(or $(ROLLOVERS),50) \
	    EVENTS=$(or $(EVENTS),1000000) \
	    scripts/test --filter '^SimulationTests\.(ExhaustiveFaultTests/twoFaults|ScheduleTests|RolloverScheduleTests)|/randomEvents'

proof-previous: previous-release build-tests
	scripts/test --filter PreviousReleaseTests

## The tests of the gateway's page in a real browser, and with an accessibility checker, which it installs.
## SCREENSHOTS=FOLDER keeps pictures of the page.
page: setup
	scripts/setup-browser
	scripts/setup-axe
	$(call build,swift build $(DEBUG_FLAGS) --product $(TESTS))
	scripts/test --filter PageTests

## The test of a foreign producer in Python, whose client it installs.
kazoo: setup
	scripts/setup-kazoo
	$(call build,swift build $(DEBUG_FLAGS) --product $(TESTS))
	scripts/test --filter KazooTests

## Tries the alert rules and the dashboard of Examples/Monitoring against a real Prometheus, which it installs.
## SCREENSHOTS=FOLDER keeps a picture of Prometheus' page.
monitoring: setup
	$(call build,$(RELEASE) --product zkq)
	scripts/monitoring $(SCREENSHOTS)

## Every kind of fault on real servers, and an ensemble whose servers are replaced, in about eight minutes.
faults: faults-standard faults-change

faults-standard faults-change: faults-%: setup
	$(call build,$(RELEASE) --product faults)
	$(call verdict,.build/release/faults $* $(faults_transport))

## The two runs of faults-standard, which CI does at the same time.
faults-legacy faults-everything: faults-%: setup
	$(call build,$(RELEASE) --product faults)
	$(call verdict,.build/release/faults standard --only $* $(faults_transport))

## The same faults for a given time, with a kill every ten seconds: make soak DURATION=30m
DURATION ?= 30m
soak: setup
	$(RELEASE) --product faults
	.build/release/faults soak --duration $(DURATION)

## Fuzzes the transport's protocol for a time, with libFuzzer: make fuzz FUZZ_SECONDS=3600
FUZZ_SECONDS ?= 600
fuzz: setup
	ZKQ_FUZZ=1 swift build --scratch-path .build/fuzz --sanitize=fuzzer --product protocol-fuzzer
	mkdir -p .build/fuzz/corpus
	.build/fuzz/debug/protocol-fuzzer -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -artifact_prefix=.build/fuzz/ \
	    .build/fuzz/corpus Tests/ZooKeeperNIOTests/Corpus

## Compares the public API with the baseline in API/. `scripts/api update` writes the baseline.
api: build-tests
	scripts/api

## Builds every product for release.
release: setup
	$(call build,$(RELEASE))

## Builds .build/portable/release/zkq, one file without the C client and without shared libraries.
static-zkq:
	swift build -c release --scratch-path .build/portable --traits Portable --product zkq \
	    --static-swift-stdlib -Xswiftc -static-executable

## Installs zkq, its shell completions and its manual page: make install PREFIX=/usr/local
PREFIX ?= /usr/local
install: setup
	$(RELEASE) --product zkq
	$(RELEASE) --product generate-manual
	scripts/install $(PREFIX)

## Measures the queue, the C client's floor and the peers in three rounds of one run: about ten minutes. It leaves out
## peers that are not installed: libcurator-recipes-java, python3-kazoo, rabbitmq-server with librabbitmq-dev,
## redis-server with libhiredis-dev.
benchmark: setup
	swift build --package-path Benchmarks -c release
	Benchmarks/.build/release/compare --output Benchmarks/Results

## Measures the gateway under load with 200 kept-alive connections, the library without a gateway, and the gateway's
## memory: about three minutes.
benchmark-gateway: setup
	$(RELEASE) --product zkq
	swift build --package-path Benchmarks -c release --product gateway-load
	Benchmarks/.build/release/gateway-load --tools .build/release --rounds 6 --output Benchmarks/Results/gateway.md

## Measures how late delayed messages are received: about half a minute. YEAR=1000000 also stores this many messages
## that are due within a year, which takes minutes, and counts the requests of an idle recovery.
benchmark-delays: setup
	swift build --package-path Benchmarks -c release --product delay-load
	Benchmarks/.build/release/delay-load $(if $(YEAR),--year $(YEAR)) --output Benchmarks/Results/delays.md

## Measures what groups cost, and how fairly they take turns: about a minute. ONCE=1000000 also uses this many keys once.
benchmark-groups: setup
	swift build --package-path Benchmarks -c release --product group-load
	Benchmarks/.build/release/group-load $(if $(ONCE),--once $(ONCE)) --output Benchmarks/Results/groups.md

## Checks that the benchmarks run, with numbers that are too small for a meaningful result. CI does not run it, because
## it compiles for five minutes: run it before a release, and after a change of the benchmarks or of the public API.
## Builds only what it runs: the package of `HotPaths` alone takes the compiler seven minutes of processor time.
benchmark-check: setup
	for product in compare queue-load floor delay-load group-load gateway-load; do \
	    swift build --package-path Benchmarks -c release --product $$product || exit; done
	Benchmarks/.build/release/compare --rounds 1 --messages 1000 --ones 50 --depth 5000 \
	    --scenarios throughput backlog consumers memory ensemble
	Benchmarks/.build/release/delay-load --cold --random 30 --burst 100 --others 900 --year 1000
	Benchmarks/.build/release/group-load --messages 1000 --keys 50 --rounds 1 --live 500 --long 500 --once 500
	$(RELEASE) --product zkq
	Benchmarks/.build/release/gateway-load --tools .build/release --rounds 2 --seconds 1 --connections 50

## Installs the Debian packages that are missing, and prints the command that it runs.
setup:
	@scripts/setup

build: setup
	swift build

## Checks which packages a user of only the client and the queue resolves.
minimal-user: setup
	scripts/minimal-user

## Builds the examples, and runs those that end on their own.
examples: release
	scripts/examples

lint:
	swift format lint --strict --recursive Package.swift Sources Tests Examples Snippets Benchmarks/Package.swift \
	    Benchmarks/Sources Benchmarks/Benchmarks

format:
	swift format --in-place --recursive Package.swift Sources Tests Examples Snippets Benchmarks/Package.swift \
	    Benchmarks/Sources Benchmarks/Benchmarks

## Makes the documentation of the libraries in .build/docs.
docs: build-tests
	scripts/docs

clean:
	swift package clean
