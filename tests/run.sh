#!/usr/bin/env bash
# Checks everything: format, lints, documentation, licences, and all tests on embedded SQLite and on a private MariaDB.
# Installs from Debian's packages what the tests need and is missing. Says little while all is well.
#   WAXWING_TEST_MYSQL=mysql://USER:PASSWORD@HOST:PORT/SCHEMA   use this server (the user may create schemas), not a private one
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
work=$(mktemp -d "${TMPDIR:-/tmp}/waxwing-tests.XXXXXX")
clean_up() {
  if [[ -d $work/mariadb ]]; then tests/mariadb.sh stop "$work/mariadb" || true; fi
  rm -rf "$work"
}
trap clean_up EXIT

# Runs a step, and shows what it printed only if it failed.
step() {
  local name=$1 begin=$SECONDS
  shift
  printf '%-14s' "$name"
  if "$@" >"$work/output" 2>&1; then
    printf 'ok (%d s)\n' $((SECONDS - begin))
  else
    printf 'FAILED\n'
    cat "$work/output"
    printf '\n%s failed: %s\n' "$name" "$*" >&2
    exit 1
  fi
}

has() { command -v "$1" >/dev/null || [[ -x /usr/sbin/$1 ]]; }

install_packages() {
  local missing=()
  has cc || missing+=(build-essential)
  has make || missing+=(make)
  has perl || missing+=(perl)
  has nginx || missing+=(nginx-light)
  has nats-server || missing+=(nats-server)
  /usr/bin/python3 -c "import aiosmtpd" 2>/dev/null || missing+=(python3-aiosmtpd)
  has faketime || missing+=(faketime)
  [[ -n ${WAXWING_TEST_MYSQL:-} ]] || has mariadbd || missing+=(mariadb-server)
  ((${#missing[@]})) || return 0
  if ! has apt-get; then
    echo "missing, and this is no Debian to install it on: ${missing[*]}" >&2
    exit 1
  fi
  local as_root=()
  if ((EUID)); then
    if ! has sudo || ! sudo -n true 2>/dev/null; then
      echo "missing: run 'apt-get install ${missing[*]}' as root, then this again" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  step "packages" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c \
    'apt-get update && apt-get install -y --no-install-recommends "$@"' sh "${missing[@]}"
}

# cargo-deny is compiled once into the target folder, without optimisation: that takes a minute instead of five.
find_cargo_deny() {
  if has cargo-deny; then deny=cargo-deny; return; fi
  deny=$target/tools/bin/cargo-deny
  [[ -x $deny ]] || step "cargo-deny" env CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_TARGET_DIR="$target/tools/build" \
    cargo install --quiet --locked cargo-deny --version 0.20.2 --root "$target/tools"
  rm -rf "$target/tools/build"
}

# The database of advisories needs the network; where there is none, the other checks still count.
check_advisories() {
  local code=0
  timeout 120 "$deny" check advisories >"$work/output" 2>&1 || code=$?
  if ((code == 0)); then
    echo "advisories    ok"
  elif ((code == 124)) || grep -q "failed to fetch advisory database" "$work/output"; then
    echo "advisories    skipped: the advisory database cannot be reached"
  else
    cat "$work/output"
    echo "advisories failed" >&2
    exit 1
  fi
}

install_packages
# The system's OpenSSL spares compiling one for SQLCipher.
if [[ -e /usr/include/openssl/opensslv.h ]]; then export OPENSSL_NO_VENDOR=${OPENSSL_NO_VENDOR:-1}; fi
export CARGO_TERM_COLOR=never

step "format" cargo fmt --all --check
step "clippy" cargo clippy --locked --quiet --workspace --all-targets -- -D warnings
step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --quiet --workspace --no-deps
find_cargo_deny
step "licences" "$deny" check bans licenses sources
check_advisories

# `cargo try` builds the set-up alone, without the features that only the server's own program has.
step "cargo try" cargo check --locked --quiet --package waxwing-setup
step "build" cargo build --locked --quiet --workspace --bins
export WAXWING_TEST_BINARIES=$target/debug
if [[ -z ${WAXWING_TEST_MYSQL:-} ]]; then
  step "MariaDB" tests/mariadb.sh start "$work/mariadb"
  WAXWING_TEST_MYSQL=$(tail -n 1 "$work/output")
  export WAXWING_TEST_MYSQL
fi

if cargo nextest --version >/dev/null 2>&1; then
  step "test build" cargo nextest run --locked --workspace --no-run
  step "doc tests" cargo test --locked --quiet --workspace --doc
  cargo nextest run --locked --workspace --no-fail-fast --status-level fail --final-status-level fail \
    --hide-progress-bar --cargo-quiet
else
  step "test build" cargo test --locked --workspace --no-run
  cargo test --locked --quiet --workspace --no-fail-fast
fi
