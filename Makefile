# edge-gateway. `make` lists the targets.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
TOOLS   := $(GO) tool -modfile=scripts/tools/go.mod
BUF     := $(GO) tool -modfile=../../scripts/tools/go.mod buf
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/edge-gateway/edge-gateway/pkg/version.version=$(VERSION)
# Packages tested at once: their tests wait more than they compute.
WAITING := $(shell echo $$((2 * $$(nproc))))
BINS    := edge-gw edge-cfg edge-bus edge-ctl

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what the tests need (Debian packages, only what is missing)
	@scripts/setup

.PHONY: build
build: ## build the four commands into bin/
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./cmd/,$(BINS))

.PHONY: run
run: build ## show the main job: simulated PLC -> log -> embedded broker
	@bin/edge-gw demo

.PHONY: fleet
fleet: build ## a fleet on this machine: three etcd members, twelve gateways, a good change and a bad one in waves
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/etcd go.etcd.io/etcd/server/v3
	@ETCD=bin/etcd examples/fleet/walk

.PHONY: test
test: setup build ## everything that must pass, in under ten minutes
	$(GO) vet ./...
	$(GO) test -timeout 8m -p $(WAITING) ./pkg/... ./cmd/... ./docs/...
	$(GO) test -timeout 8m -p $(WAITING) -parallel 8 $$($(GO) list ./test/... | grep -v -e '/apply$$' -e '/e2e$$')
	$(GO) test -timeout 8m -p 1 -parallel 4 ./test/apply ./test/e2e # these measure: nothing else runs beside them

.PHONY: unit
unit: ## the packages' own tests, without the real peers of test/
	$(GO) test -short -timeout 5m ./pkg/... ./cmd/... ./docs/...

.PHONY: race
race: setup build ## all tests under the race detector
	$(GO) test -race -timeout 40m ./...

.PHONY: crash
crash: ## the long campaigns of kill -9, crash points, histories, full disks (root)
	EDGE_CRASH=all $(GO) test -count=1 -timeout 60m ./pkg/wal ./pkg/bus
	EDGE_EXCHANGES=1000000 $(GO) test -count=1 -timeout 60m -v -run LineKeeps ./pkg/driver/modbus
	EDGE_PLUGINS=all EDGE_PLUGIN_KILLS=200 $(GO) test -count=1 -timeout 10m -v ./pkg/driver/dyn
	EDGE_OPCUA=all $(GO) test -count=1 -timeout 30m -v ./test/opcua
	EDGE_MODBUS_DEVICES=300 $(GO) test -count=1 -timeout 60m -run HolesProperty ./pkg/driver/modbus
	EDGE_KILLS=200 EDGE_FULL_DISK=1 $(GO) test -count=1 -timeout 60m -v ./test/crash
	EDGE_FULL_DISK=1 $(GO) test -count=1 -timeout 20m -v -run 'NoInodes|ReadOnly' ./test/e2e
	EDGE_CAMPAIGN=1 $(GO) test -count=1 -timeout 60m -v ./test/center
	EDGE_KILLS=200 EDGE_KILL_RATE=100000 $(GO) test -count=1 -timeout 60m -v -run 'Kill$$' ./test/mqtt
	EDGE_FLEET_MODEL=all $(GO) test -count=1 -timeout 60m -v -run Model ./pkg/rollout
	EDGE_APPLY_HISTORIES=10000 $(GO) test -count=1 -timeout 60m -run Histor ./pkg/apply
	EDGE_KILLS=200 EDGE_APPLY_PUSHES=500 $(GO) test -count=1 -timeout 60m -v -run "Killed|Random" ./test/apply

.PHONY: faults
faults: setup build ## every scenario of faults at length, as the table of docs/reliability.md (root)
	@scripts/faults $(SCENARIOS)

.PHONY: soak
soak: setup build ## 5,000 frames/s for ten minutes (DURATION=24h): nothing grows, no loss
	EDGE_SOAK=$(or $(DURATION),10m) $(GO) test -count=1 -timeout 0 -v -run Soak ./test/e2e/...

.PHONY: campaign
campaign: setup build ## a million frames/s for a minute, half of it for ten, an hour without a broker: no loss
	EDGE_LOAD=1m EDGE_LOAD_PLCS=100 $(GO) test -count=1 -timeout 30m -v -run Campaign ./test/e2e
	EDGE_LOAD=10m EDGE_LOAD_PLCS=50 $(GO) test -count=1 -timeout 60m -v -run Campaign ./test/e2e
	EDGE_AWAY=90s $(GO) test -count=1 -timeout 30m -v -run HourAway ./test/e2e

.PHONY: campaign-fleet
campaign-fleet: ## EDGE_FLEET (2000) whole followers on three etcd members: pushes, rollouts, the leader killed
	EDGE_FLEET=$(or $(EDGE_FLEET),2000) $(GO) test -count=1 -timeout 60m -v -run FleetInWaves ./test/center

.PHONY: bench
bench: ## the benchmarks that have budgets (docs/performance.md)
	$(GO) test -run '^$$' -bench . -benchmem ./pkg/...

.PHONY: bench-e2e
bench-e2e: setup build ## PLC -> broker: throughput, latency, start-up, CPU per point
	$(GO) test -count=1 -timeout 60m -run '^$$' -bench . -skip Peer -benchtime 1x ./test/e2e/...
	$(GO) test -count=1 -timeout 10m -run '^$$' -bench . -benchtime 1x ./test/apply

.PHONY: bench-peers
bench-peers: setup build ## beside other products, in one run: Telegraf (built from its module, which takes minutes)
	$(GO) test -count=1 -timeout 60m -run '^$$' -bench 'CPUPerPoint|Peer' -benchtime 1x ./test/e2e/...
	$(GO) test -count=1 -timeout 60m -run '^$$' -bench Peer -benchtime 1x ./test/s7
	EDGE_OPCUA=peers $(GO) test -count=1 -timeout 30m -v -run TestBesideTelegraf ./test/opcua

.PHONY: bench-bus
bench-bus: ## the bus and its log beside raw Pebble and NATS JetStream's file store, in one run
	$(GO) test -run '^$$' -bench 'RawPebble100|Publish100' -benchtime 500000x ./pkg/wal ./pkg/bus
	cd test/rivals/nats && $(GO) test -run '^$$' -bench . -benchtime 500000x

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME each (default 20s)
	@scripts/fuzz $(or $(FUZZTIME),20s)

# Where the commands run: the gateway on Linux, its tools where people sit. Compiling is all that is done here, and
# Go's cache keeps it (a few minutes the first time, then seconds); for the machine's own platform there is `build`.
# 32 bits find constants and tests that need 64, so that the vet there is of everything.
TOOL_PLATFORMS    := windows/amd64 darwin/arm64
GATEWAY_PLATFORMS := linux/arm64 linux/arm linux/riscv64

.PHONY: platforms
platforms: ## build the commands for every platform that they run on
	@for p in $(TOOL_PLATFORMS); do \
	  CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build ./cmd/edge-ctl ./cmd/edge-cfg ./cmd/edge-bus || { echo "$$p failed" >&2; exit 1; }; \
	done
	@for p in $(GATEWAY_PLATFORMS); do \
	  CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build $(addprefix ./cmd/,$(BINS)) || { echo "$$p failed" >&2; exit 1; }; \
	done
	CGO_ENABLED=0 GOOS=linux GOARCH=arm $(GO) vet ./pkg/... ./cmd/...

.PHONY: lint
lint: breaking platforms ## golangci-lint, the protobuf linters, every platform
	$(TOOLS) golangci-lint run ./...
	cd schemas/admin && $(BUF) lint
	cd schemas/driver && $(BUF) lint

# Needs the database at vuln.go.dev, or a copy of it that GOVULNDB names (https:// or file://).
.PHONY: vulncheck
vulncheck: ## known vulnerabilities of what is linked and called
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 $(if $(GOVULNDB),-db $(GOVULNDB)) ./cmd/...

.PHONY: licences
licences: ## write THIRD_PARTY_LICENSES anew, after a change of what is linked
	$(GO) test -count=1 ./test/licences -update

.PHONY: breaking
breaking: ## the admin API must still serve clients of the last release, the gateway the drivers made for it
	cd schemas/admin && $(BUF) breaking --against released.binpb
	cd schemas/driver && $(BUF) breaking --against released.binpb

.PHONY: released
released: ## part of a release: its admin API and contract for drivers are what later ones are held against
	cd schemas/admin && $(BUF) build --exclude-source-info -o released.binpb
	cd schemas/driver && $(BUF) build --exclude-source-info -o released.binpb

.PHONY: generate
generate: ## regenerate the protobuf code
	cd schemas/admin && $(BUF) generate
	cd schemas/driver && $(BUF) generate

.PHONY: docs
docs: ## bring the tables of settings in docs/ up to the schemas
	$(GO) test ./test/docs -update

.PHONY: check
check: test lint ## what CI runs

.PHONY: page-test
page-test: ## the status page in a real browser (installs Debian's chromium, axe-core of npm)
	@scripts/setup chromium:chromium
	@npm ci --prefix test/page/axe --ignore-scripts --no-audit --no-fund --loglevel=error
	EDGE_PAGE=1 $(GO) test -count=1 -timeout 10m -v ./test/page

.PHONY: package
package: ## .deb, .rpm and tarball for this machine, in dist/
	@scripts/package $(VERSION) $$($(GO) env GOOS)/$$($(GO) env GOARCH)

.PHONY: release
release: ## packages and archives for every platform, with checksums, in dist/
	@scripts/package $(VERSION)

.PHONY: package-test
package-test: ## install, upgrade and remove the packages on a copy of this machine (root; lintian, rpm)
	@scripts/setup lintian:lintian rpm:rpm man-db:man
	EDGE_PACKAGES=1 $(GO) test -count=1 -timeout 30m -v ./test/packages

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist
