# clade: build, test, break. `make lab` is the whole of it on a fresh computer;
# `make test` proves it. Neither needs root, but for the packages that are missing.

export GOFLAGS := -buildvcs=false
export CGO_ENABLED := 0
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X github.com/clade-vm/clade.Version=$(VERSION)

# What clade runs on.
PACKAGES := qemu-system-x86 qemu-utils mmdebstrap uidmap gpgv debian-archive-keyring openssh-client ovmf
# What its tests need besides.
TEST_PACKAGES := $(PACKAGES) e2fsprogs xfsprogs btrfs-progs lvm2 dosfstools mtools fdisk ipxe-qemu docker-registry

.PHONY: lab setup setup-test build test test-unit test-integration test-model test-lab test-masters soak bench release clean

lab: setup build
	bin/clade lab

# Asks apt only for what is not there, and sudo only where one is not root.
define install
	@missing=$$(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(1) 2>/dev/null | awk '$$2 == "installed" {print $$1}' | sort > .installed; \
	  printf '%s\n' $(1) | sort | comm -23 - .installed; rm -f .installed); \
	if [ -n "$$missing" ]; then \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  echo "missing packages:" $$missing; \
	  echo "+ $$sudo apt-get install --no-install-recommends" $$missing; \
	  $$sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -qy --no-install-recommends $$missing; \
	fi
endef

setup:
	$(call install,$(PACKAGES))

setup-test:
	$(call install,$(TEST_PACKAGES))

build:
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/clade ./cmd/clade

# All three tiers; the packages are installed first where they are missing. The second
# tier runs the first one's tests too, so that they are not run twice.
test: setup-test test-integration test-lab

test-unit:
	go test ./...

test-integration:
	go test -tags integration -timeout 30m ./...

# Random acts against a model of the home, for a long time; FLAGS="-seed N" repeats.
test-model:
	go test -tags integration -timeout 3h -v -run 'TestModel$$' ./host -sequences 2000 -seed $$(date +%s) $(FLAGS)

test-lab:
	go test -tags lab -timeout 60m -v -run Lab ./cmd/clade

# Builds every built-in recipe, boots each on BIOS and UEFI, and takes the driver
# through a real guest: an hour under emulation, so run it when those change.
test-masters: setup-test
	mkdir -p bin/masters
	go test -tags lab -timeout 90m -v -run TestMasters ./debian -keep $(CURDIR)/bin/masters
	CLADE_TEST_MASTER=$(CURDIR)/bin/masters/debian-12.qcow2 go test -tags lab -timeout 30m -v -run TestRealGuest ./qemu

# Twice ten minutes of claims, releases, updates, scalings and kills at random: of
# controllers and machines without a hypervisor; of QEMU and the switch too.
soak: setup-test
	go test -tags integration -timeout 50m -v -run TestPoolSoak ./host -soak 10m

bench:
	go test -tags integration -run '^$$' -bench . -benchtime 5x ./bench

release:
	mkdir -p dist
	for arch in amd64 arm64; do \
	  GOARCH=$$arch go build -trimpath -ldflags '$(LDFLAGS)' -o dist/clade-linux-$$arch ./cmd/clade || exit 1; \
	done
	cd dist && sha256sum clade-linux-* > SHA256SUMS

clean:
	rm -rf bin dist
