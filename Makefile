# siprecd: make run starts a recorder and proves it with a call; make test judges it.

SHELL       := /bin/bash
.DEFAULT_GOAL := build

VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TAGS        := nolibopusfile
DIR         ?= data
CONFIG      := $(DIR)/siprecd.yaml

# One static binary: libopus and libm are linked in, the resolver and user
# look-up are Go's own.
LINK        := -s -w -X main.version=$(VERSION) -linkmode external -extldflags -static
BUILD_DEB   := gcc libc6-dev libopus-dev pkg-config $(if $(filter g729,$(TAGS)),libbcg729-dev)
TEST_DEB    := sip-tester ffmpeg opus-tools sox age openssl tcpdump xfsprogs

# Tags stand apart in TAGS and joined by commas in GOFLAGS.
empty :=
comma := ,
export GOFLAGS := -tags=$(subst $(empty) $(empty),$(comma),$(strip $(TAGS))) -buildvcs=false
export CGO_ENABLED := 1

.PHONY: build run test unit lint fuzz deps-build deps-test clean

# With runtimesecret the keys of recordings are cleared from memory once used (store/seal).
build: deps-build
	GOEXPERIMENT=runtimesecret CGO_LDFLAGS=-lm go build -trimpath -tags '$(TAGS) netgo osusergo' -ldflags '$(LINK)' -o bin/siprecd ./cmd/siprecd

# Data folder, canary call, banner; then it serves until Ctrl-C.
run: build
	@test -e $(CONFIG) || bin/siprecd init --dir $(DIR)
	bin/siprecd serve --config $(CONFIG) --canary

test: deps-test lint unit

lint: deps-build
	@bad=$$(gofmt -l cmd recorder siprec media store testdata); test -z "$$bad" || { echo "not formatted: $$bad"; exit 1; }
	go vet ./...
	go tool staticcheck ./...

unit: deps-build
	go test -race -parallel 6 -timeout 12m $$(go list ./... | grep -v ^siprecd/cmd/torture)
	go test -p 1 -timeout 12m ./cmd/torture/... # alone: it fills disks and takes processors

# Every fuzz target for FUZZTIME each.
FUZZTIME ?= 20s
fuzz: deps-build
	@set -e; for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

deps-build:
	@.ci/deps $(BUILD_DEB)
deps-test:
	@.ci/deps $(BUILD_DEB) $(TEST_DEB)

clean:
	rm -rf bin

# The worst minute: all rows, two hours, one table; or ROW=A1,B2 with ROUNDS=50,
# which leaves the table alone. Some rows need root: those are skipped without.
.PHONY: torture
torture: build deps-test
	go build -o bin/torture ./cmd/torture
	bin/torture $(if $(ROW),-row $(ROW)) $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(ROW)$(ROUNDS),,-out cmd/torture/RESULTS.md)

# The performance goals, measured against libopus alone. BENCH are its flags:
# make bench BENCH="-rows cost,latency -rounds 1"
.PHONY: bench
bench: build deps-test
	go run ./cmd/bench $(BENCH)
