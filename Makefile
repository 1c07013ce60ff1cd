# make test    everything that has to pass: formatting, vet, staticcheck, all tests with the race detector
# make bench   regions in memory, on Redis and on memcached beside their rivals, as ratios
# make fuzz    each fuzz target for a while
# make faults  the tests of faults (those with Fault in their names) in their long form
# make proof   that no invalidation is lost: every order of steps, and long histories of three processes on each backend
#
# Needed: Go 1.26 and make. What else a target needs (see .ci/need) it installs
# with apt-get where it may, and otherwise says so in one line. Tests that need a
# server are skipped by a plain go test where there is none; here they fail. Those that
# need Python with dogpile.cache are skipped here too, but fail in CI.

SHELL := /bin/bash
MODULES := . examples bench region/regionpg proof
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 30s
BENCHCOUNT ?= 6
BENCHTIME ?= 200ms
BENCH ?= .

# The race detector needs cgo.
TEST := DOGPILE_TEST_SERVERS=required CGO_ENABLED=1 go test -race
NEEDS := gcc redis-server memcached postgres
PYTHON := python3:dogpile.cache,redis,pymemcache,msgpack

.PHONY: test format vet unit bench fuzz faults proof

test: format vet unit

format:
	@bad=$$(gofmt -l $$(git ls-files '*.go' 2>/dev/null || find . -name '*.go')); \
	if [ -n "$$bad" ]; then echo "gofmt would change:"; echo "$$bad"; exit 1; fi

vet:
	@for m in $(MODULES); do \
		echo "vet and staticcheck in $$m"; \
		(cd $$m && go vet ./... && go run $(STATICCHECK) ./...) || exit 1; \
	done

unit:
	@bash .ci/need $(NEEDS)
	@bash .ci/need $(PYTHON) || { [ -z "$$CI" ] && echo "tests with Python are skipped"; }
	@for m in $(MODULES); do \
		echo "tests in $$m"; \
		(cd $$m && $(TEST) ./...) || exit 1; \
	done

# Each round runs every contestant once, so that a noisy minute falls on all of them.
# To store a million keys takes long, so what does that is left out after two rounds.
bench:
	@bash .ci/need redis-server memcached
	@cd bench && go test -c -o bench.test . && rm -f results.txt && \
	for i in $$(seq $(BENCHCOUNT)); do \
		echo "round $$i of $(BENCHCOUNT)"; \
		skip='^$$'; [ $$i -le 2 ] || skip=RedisGrowth; \
		DOGPILE_TEST_SERVERS=required ./bench.test -test.run '^$$' -test.bench '$(BENCH)' -test.skip "$$skip" \
			-test.benchtime $(BENCHTIME) >>results.txt || exit 1; \
	done && echo && go run ./ratios results.txt

fuzz:
	@for p in $$(grep -rl '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$p/*_test.go | cut -c6-); do \
			echo "$$p $$f"; (cd $$p && go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) .) || exit 1; \
		done; \
	done

# One package at a time: their processes and deadlines would get in each other's way.
faults:
	@bash .ci/need $(NEEDS)
	@DOGPILE_LONG=1 $(TEST) -count=1 -p 1 -timeout 60m -run Fault ./...
	@cd region/regionpg && DOGPILE_LONG=1 $(TEST) -count=1 -timeout 60m -run Fault ./...

proof:
	@bash .ci/need $(NEEDS)
	@DOGPILE_LONG=1 $(TEST) -count=1 -timeout 60m -run Interleaving -v ./region
	@cd proof && DOGPILE_LONG=1 $(TEST) -count=1 -timeout 60m -v .
