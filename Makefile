# What a developer does here. `make help` prints this list from the ## comments.

GOLANGCI_LINT_VERSION := v2.15.0
NFPM_VERSION := v2.43.0
LINT := .bin/golangci-lint-$(GOLANGCI_LINT_VERSION)
BENCH ?= .
# What no statement and no page of ours needs: docs/decisions/0021.
TAGS := nopgxregisterdefaulttypes,grpcnotrace
FUZZTIME ?= 10s
VERSION ?= 0.0.0

.DEFAULT_GOAL := help
.PHONY: help run build check test browser faults bench microbench lint format format-check cover fuzz generate package tidy clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start a server for a first look, with a client, a user and lines to paste
	go run ./cmd/grantor serve --dev

build: ## build bin/grantor, one static file
	CGO_ENABLED=0 go build -tags $(TAGS) -trimpath -ldflags '-s -w' -o bin/grantor ./cmd/grantor

check: format-check lint test ## everything that a change must pass

test: ## vet and all tests, on SQLite and PostgreSQL and in Chromium, the concurrent ones with -race too
	@scripts/test

browser: ## only the tests in Chromium; pictures of every page go to artefacts/browser
	GRANTOR_TEST_REQUIRE=browser GRANTOR_TEST_ARTEFACTS=$(CURDIR)/artefacts/browser go test -count 1 -run _Browser ./test/browser ./examples/spa

faults: ## break replicas, network and database, and check that nothing is lost, into docs/reliability.md; FAULTFLAGS=-list
	go run ./test/faults -table docs/reliability.md $(FAULTFLAGS)

bench: ## Grantor against what the machine can do, 45 minutes, into docs/performance.md; BENCHFLAGS=-quick to try
	@mkdir -p bin
	go run ./test/bench -json bin/bench.json -table docs/performance.md $(BENCHFLAGS)

microbench: ## go test benchmarks beside the packages; BENCH=Regexp chooses
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

lint: $(LINT) ## golangci-lint with the chosen list of .golangci.yml
	$(LINT) run ./...

format: $(LINT) ## write every file as gofumpt wants it
	$(LINT) fmt ./...

format-check: $(LINT)
	@out=$$($(LINT) fmt --diff ./...) || { echo "$$out"; echo 'run: make format'; exit 1; }

cover: ## lines that the tests reach, per function, in coverage.out
	go test -coverpkg=./... -coverprofile=coverage.out ./...
	@go tool cover -func=coverage.out | tail -n 1

fuzz: ## every fuzz test for FUZZTIME (10s) each
	@FUZZTIME=$(FUZZTIME) scripts/fuzz

generate: ## write again what is made from the code: docs/config.md, docs/dependencies.txt
	go run ./cmd/grantor config docs > docs/config.md
	go test -run TestDependencies -update .

package: build ## a .deb of bin/grantor with its systemd unit, into dist; VERSION=1.2.3 names it
	@mkdir -p dist
	ARCH=$$(go env GOARCH) VERSION=$(VERSION) GOFLAGS= go run github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM_VERSION) package --packager deb --config deploy/package/nfpm.yaml --target dist/

tidy: ## bring go.mod in line with the imports
	go mod tidy

clean: ## remove what was built; databases stay
	rm -rf bin dist artefacts coverage.out

# Not in go.mod: a tool must not choose the versions of what the program links. The
# first build takes minutes, so no test asks for it.
$(LINT):
	@mkdir -p .bin
	GOBIN=$(CURDIR)/.bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	@mv .bin/golangci-lint $@
