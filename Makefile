# One flag set for builds and tests: another one compiles the Graph SDK again,
# which costs minutes.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath

FUNCTIONS := $(notdir $(patsubst %/,%,$(wildcard functions/*/)))
BUILD     := go build -buildvcs=false -tags lambda.norpc -ldflags "-s -w"
TOOLS     := -modfile=.ci/tools/go.mod
ARCH      ?= arm64
FUZZTIME  ?= 20s
SEEDS     ?= 500
FROM      ?= 1
# The race detector needs cgo, hence a second set of objects; without the Graph SDK that is cheap.
RACE_PKGS  = $(shell go list ./pkg/... ./events/... | grep -vxE 'mfaflow/pkg/(graph|flow|simulation|cmd/sim)')

.DEFAULT_GOAL := help
.PHONY: help run demo demo-all build package test check fmt vet lint arch race crash sim sim-mutations fuzz bench screenshots clean FORCE

help: ## print this help
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## start everything on this machine, play one joiner, serve until Ctrl-C
	@dist/mfaflow local

demo: build ## play the story; fails unless the pass is delivered and opens the account
	@dist/mfaflow demo

demo-all: build ## play a story for every event type; fails unless every effect shows
	@dist/mfaflow demo --all

build: $(FUNCTIONS:%=build-%) build-mfaflow ## build the functions and the CLI into dist/

build-mfaflow: FORCE
	@$(BUILD) -o dist/mfaflow ./pkg/cmd/mfaflow

build-%: FORCE ## build one function, for example build-hr-events
	@$(BUILD) -o dist/$* ./functions/$*

package: $(FUNCTIONS:%=dist/%.zip) ## zip every function for AWS Lambda (linux, ARCH=arm64)

dist/%.zip: FORCE
	GOOS=linux GOARCH=$(ARCH) $(BUILD) -o dist/lambda/$*/bootstrap ./functions/$*
	@go run .ci/zip/main.go $@ dist/lambda/$*/bootstrap

test: build ## run all tests
	go test ./...

check: fmt vet arch lint test ## everything a change must pass

fmt: ## fail on files that gofmt would change
	@out=$$(gofmt -l functions pkg events .ci 2>/dev/null); test -z "$$out" || { echo "gofmt -w these files:"; echo "$$out"; exit 1; }

vet: ## go vet
	go vet ./...

arch: ## check the layout and the dependency rules
	go test -count=1 ./pkg/archtest

lint: ## golangci-lint, pinned in .ci/tools
	go tool $(TOOLS) golangci-lint run

race: ## run the tests under the race detector (needs a C compiler; all but what links the Graph SDK)
	CGO_ENABLED=1 go test -race $(RACE_PKGS)

crash: ## kill the functions again and again while EVENTS=1000 events flow
	go test -count=1 -v -run '^TestKilledFunctionsLoseNothing$$' ./pkg/bootstrap -events $(or $(EVENTS),1000)

sim: ## play random histories with faults and check every invariant (SEEDS=500 FROM=1)
	go run ./pkg/cmd/sim -seeds $(SEEDS) -from $(FROM)

sim-mutations: ## switch each guarantee off in turn: some seed of SEEDS must notice (minutes)
	go test ./pkg/simulation -count=1 -v -timeout 60m -run TestMutations -sim.mutations=$(SEEDS) -sim.from=$(FROM)

fuzz: ## run every fuzz target for FUZZTIME=20s
	@set -e; grep -rE '^func Fuzz' --include='*_test.go' pkg events functions | sed -E 's,/[^/]*:func (Fuzz[A-Za-z0-9_]*).*, \1,' | sort -u | \
	while read -r dir target; do echo "== $$dir $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$dir; done

bench: build ## measure speed and size against the bounds of the design (EVENTS=10000 mixed events)
	@$(BUILD) -o dist/bare ./pkg/bench/testdata/bare
	@go run ./pkg/cmd/bench $(if $(EVENTS),-events $(EVENTS))

screenshots: ## write screenshots of the console and of a readiness report to dist/screenshots and README's to .github (needs chromium)
	@mkdir -p dist/screenshots .github/screenshots
	go test ./pkg/console -count=1 -run '^TestScreenshots$$' -screenshots $(CURDIR)/dist/screenshots
	go test ./pkg/flow -count=1 -run '^TestReadinessScreenshots$$' -screenshots $(CURDIR)/dist/screenshots
	@cp $(addprefix dist/screenshots/,overview.png overview-dark.png plan.png readiness.png readiness-dark.png) .github/screenshots

clean: ## remove what was built
	rm -rf dist
