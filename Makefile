# Debian packages that are missing are installed by `make setup`, which the targets below run: it prints its command first, and
# stops with it where this user may not run it. Swift packages are fetched by the build.
export ZKQ_STRICT = 1
# What `zkq --version` says.
export ZKQ_COMMIT := $(or $(shell git describe --always --dirty --exclude='*' --abbrev=12 2>/dev/null),unknown)

# The servers of another Debian suite instead of the installed ones: make test SERVER=trixie, make faults SERVER=trixie.
ifdef SERVER
export ZOOKEEPER_CLASSPATH := $(shell scripts/server-release $(SERVER))
$(if $(ZOOKEEPER_CLASSPATH),,$(error scripts/server-release $(SERVER) has failed))
endif

# The runtime of Swift goes into the programs, so that they need none on the machine where they run. What no program calls is
# left out of it, which needs that nothing is exported.
RELEASE = swift build -c release --static-swift-stdlib -Xcc -ffunction-sections -Xcc -fdata-sections \
    -Xlinker --gc-sections -Xlinker --no-export-dynamic

.PHONY: minimal-user faults-standard faults-change demo test test-servers proof proof-in-memory proof-previous previous-release page faults soak release install benchmark benchmark-gateway benchmark-check setup build examples \
    lint format docs clean

## The queue's whole life on a real ZooKeeper, told as it happens.
demo: setup
	$(RELEASE) --product demo
	.build/release/demo

## The tests, against real ZooKeeper servers. SCHEDULES=, ROLLOVERS=, FUZZ= for more of what is drawn by chance, SEED= for the
## same again.
test: setup
	swift build --build-tests
	scripts/test

## The tests of the client and the queue that use real servers, such as those of another Debian suite: SERVER=trixie.
test-servers: setup
	swift build --build-tests
	scripts/test --filter '^(ZooKeeperTests|ZooKeeperQueueTests|TestKitTests)\.'

## What takes longer: many more pairs of faults, schedules and passages, the previous release beside this one, and the faults.
proof: proof-in-memory proof-previous faults

previous-release: setup
	scripts/previous-release

proof-in-memory: setup
	swift build --build-tests
	EXHAUSTIVE=$(or $(EXHAUSTIVE),20) SCHEDULES=$(or $(SCHEDULES),5000) ROLLOVERS=$(or $(ROLLOVERS),50) \
	    EVENTS=$(or $(EVENTS),1000000) \
	    scripts/test --filter '^SimulationTests\.(ExhaustiveFaultTests/twoFaults|ScheduleTests|RolloverScheduleTests)|/randomEvents'

proof-previous: previous-release
	swift build --build-tests
	scripts/test --filter PreviousReleaseTests

## The gateway's page in a real browser, which is installed for it. SCREENSHOTS=FOLDER keeps what it shows.
page: setup
	scripts/setup-browser
	swift build --build-tests
	scripts/test --filter PageTests

## Real servers and real kills: every kind of fault, and an ensemble that changes, in about eight minutes.
faults: faults-standard faults-change

faults-standard faults-change: faults-%: setup
	$(RELEASE) --product faults
	.build/release/faults $*

## The same for as long as asked, a kill every ten seconds: make soak DURATION=30m
DURATION ?= 30m
soak: setup
	$(RELEASE) --product faults
	.build/release/faults soak --duration $(DURATION)

## Every product, for release.
release: setup
	$(RELEASE)

## Installs zkq, its shell completions and its manual page: make install PREFIX=/usr/local
PREFIX ?= /usr/local
install: setup
	$(RELEASE) --product zkq
	$(RELEASE) --product generate-manual
	scripts/install $(PREFIX)

## The queue beside the C client's floor and its peers, in three rounds of one run: about ten minutes. Peers that are not
## installed are left out: libcurator-recipes-java, python3-kazoo, rabbitmq-server with librabbitmq-dev, redis-server with
## libhiredis-dev.
benchmark: setup
	swift build --package-path Benchmarks -c release
	Benchmarks/.build/release/compare --output Benchmarks/Results

## The gateway under load with 200 connections that are kept alive, beside the library without it, and its memory: about three
## minutes.
benchmark-gateway: setup
	$(RELEASE) --product zkq
	swift build --package-path Benchmarks -c release --product gateway-load
	Benchmarks/.build/release/gateway-load --tools .build/release --rounds 6 --output Benchmarks/Results/gateway.md

## Whether the benchmarks run, with small numbers; what they measure means nothing.
benchmark-check: setup
	swift build --package-path Benchmarks -c release
	Benchmarks/.build/release/compare --rounds 1 --messages 1000 --ones 50 --depth 5000 \
	    --scenarios throughput backlog consumers memory ensemble
	$(RELEASE) --product zkq
	Benchmarks/.build/release/gateway-load --tools .build/release --rounds 2 --seconds 1 --connections 50

## Installs the Debian packages that are missing, and prints the command that it runs.
setup:
	@scripts/setup

build: setup
	swift build

## Resolves the packages that a user of the client and the queue alone needs.
minimal-user: setup
	scripts/minimal-user

## Builds the examples, and runs those that end by themselves.
examples: release
	scripts/examples

lint:
	swift format lint --strict --recursive Package.swift Sources Tests Examples Snippets Benchmarks/Package.swift \
	    Benchmarks/Sources Benchmarks/Benchmarks

format:
	swift format --in-place --recursive Package.swift Sources Tests Examples Snippets Benchmarks/Package.swift \
	    Benchmarks/Sources Benchmarks/Benchmarks

docs:
	swift package generate-documentation --target ZooKeeper --warnings-as-errors
	swift package generate-documentation --target ZooKeeperQueue --warnings-as-errors
	swift package generate-documentation --target ZooKeeperTestKit --warnings-as-errors
	swift package generate-documentation --target ZooKeeperGateway --warnings-as-errors
	swift package generate-documentation --target ZooKeeperREST --warnings-as-errors

clean:
	swift package clean
