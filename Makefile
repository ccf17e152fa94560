# One flag set for builds and tests: another one compiles the Graph SDK again,
# which costs minutes.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath

FUNCTIONS := $(notdir $(patsubst %/,%,$(wildcard functions/*/)))
BUILD     := go build -buildvcs=false -tags lambda.norpc -ldflags "-s -w"
TOOLS     := -modfile=.ci/tools/go.mod
ARCHES    ?= arm64 amd64
FUZZTIME  ?= 20s
SEEDS     ?= 500
FROM      ?= 1
# The race detector needs cgo, hence a second set of objects; without the Graph SDK that is cheap.
RACE_PKGS  = $(shell go list ./pkg/... ./events/... | grep -vxE 'mfaflow/pkg/(graph|flow|simulation|cmd/sim)')

.DEFAULT_GOAL := help
.PHONY: terraform help run demo demo-all build package image test check fmt vet lint arch infra infra-azurerm deploy destroy race crash sim sim-mutations fuzz bench screenshots clean FORCE

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

package: $(ARCHES:%=package-%) ## zip every function for AWS Lambda and run the zips, with bill of materials, licences and sizes (ARCHES="arm64 amd64")

# What runs the zips of another architecture than this machine's: Debian's qemu-user-static.
EMULATOR_arm64 := qemu-aarch64
EMULATOR_amd64 := qemu-x86_64

package-%:
	@rm -rf dist/lambda/$* dist/package/$*
	@$(MAKE) --no-print-directory $(FUNCTIONS:%=dist/lambda/$*/%/bootstrap)
	@go run ./pkg/cmd/package -arch $* -bin dist/lambda/$* -out dist/package/$*
	@emulator=; [ $* = "$$(go env GOHOSTARCH)" ] || emulator=$$(command -v $(EMULATOR_$*)-static || command -v $(EMULATOR_$*)) || \
	  { echo "dist/package/$*: looked into and NOT RUN, for want of $(EMULATOR_$*) (apt-get install qemu-user-static)"; exit 0; }; \
	  echo "dist/package/$*: under the Lambda runtime$${emulator:+, emulated by $$emulator}"; \
	  go test -count=1 ./pkg/stack -run 'UnderLambda|WithoutSecrets' -packages $(CURDIR)/dist/package -arch $* -emulator "$$emulator"

# One function for one architecture, for example dist/lambda/arm64/hr-events/bootstrap.
dist/lambda/%/bootstrap: FORCE
	@GOOS=linux GOARCH=$(firstword $(subst /, ,$*)) $(BUILD) -o $@ ./functions/$(notdir $*)

# What runs for long outside Lambda: the drains, and the console of operators.
IMAGES := identity-router identity-worker flag-notifier tenant-sweep readiness-report mfaflow

image: ## write container images of the drains and the console, as OCI layouts, without an engine (ARCHES)
	@rm -rf dist/image
	@$(foreach arch,$(ARCHES),$(foreach name,$(IMAGES),\
	  GOOS=linux GOARCH=$(arch) $(BUILD) -o dist/image/bin/$(arch)/$(name) ./$(if $(filter mfaflow,$(name)),pkg/cmd,functions)/$(name) &&)) true
	@go -C .ci/image test .
	@go -C .ci/image run . -bin $(CURDIR)/dist/image/bin -out $(CURDIR)/dist/image $(IMAGES:mfaflow=mfaflow,console)

test: build ## run all tests
	go test ./...

check: fmt vet arch lint test infra ## everything a change must pass

fmt: ## fail on files that gofmt would change
	@out=$$(gofmt -l functions pkg events .ci 2>/dev/null); test -z "$$out" || { echo "gofmt -w these files:"; echo "$$out"; exit 1; }

vet: ## go vet
	go vet ./...

arch: ## check the layout and the dependency rules
	go test -count=1 ./pkg/archtest

lint: ## golangci-lint, pinned in .ci/tools
	go tool $(TOOLS) golangci-lint run

terraform:
	@command -v terraform >/dev/null || { echo "Terraform is missing: https://developer.hashicorp.com/terraform/install"; exit 1; }

# Terraform itself would ask for a state first and miss the files afterwards.
terraform-%: terraform
	@test -n "$(DEPLOYMENT)" || { echo "usage: make $* DEPLOYMENT=contoso, for infra/contoso.tfvars and infra/contoso.s3.tfbackend"; exit 2; }
	@for file in infra/$(DEPLOYMENT).tfvars infra/$(DEPLOYMENT).s3.tfbackend; do \
	  test -f $$file || { echo "$$file is missing: infra/README.md, steps 2 and 3"; exit 1; }; done

infra: terraform ## check infra/ with Terraform and without a cloud: validate, mocked tests, mutations
	go test -count=1 -timeout 30m ./pkg/infratest -terraform

# The commit after 5.2.0; the proxy has no tags of this module beyond v1.
AZURERM := v1.44.1-0.20260824201233-fae580791926

infra-azurerm: ## the same with the real azurerm provider, built through the Go module proxy (17 minutes, 9 GB)
	GOBIN=$(CURDIR)/dist/azurerm go install -p=1 -ldflags="-s -w" github.com/hashicorp/terraform-provider-azurerm@$(AZURERM)
	go test -count=1 -timeout 30m ./pkg/infratest -terraform -azurerm $(CURDIR)/dist/azurerm/terraform-provider-azurerm

deploy: terraform-deploy ## terraform apply with infra/DEPLOYMENT.tfvars, after asking (ARGS='-var paused=true')
	terraform -chdir=infra init -reconfigure -backend-config=$(DEPLOYMENT).s3.tfbackend
	terraform -chdir=infra apply -var-file=$(DEPLOYMENT).tfvars $(ARGS)

destroy: terraform-destroy ## terraform destroy, after asking: waiting events and the state of every lane go too
	terraform -chdir=infra init -reconfigure -backend-config=$(DEPLOYMENT).s3.tfbackend
	terraform -chdir=infra destroy -var-file=$(DEPLOYMENT).tfvars $(ARGS)

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
