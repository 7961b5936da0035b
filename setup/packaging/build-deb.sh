#!/usr/bin/env bash
# Builds waxwing-server_….deb (server and set-up, unit, manual pages, completions) and waxwing_….deb (the client) into
# target/debian. Needs cargo-deb: cargo install --locked cargo-deb
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v cargo-deb >/dev/null || { echo "cargo-deb is missing: cargo install --locked cargo-deb" >&2; exit 1; }
target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --release --locked --workspace --bins

# Where the packages' lists of files look for them.
pages=target/packaging
rm -rf "$pages"
for program in waxwing waxwing-server waxwing-setup; do
  mkdir -p "$pages/$program"
  "$target/release/$program" man --to "$pages/$program"
  "$target/release/$program" completions bash >"$pages/$program/$program.bash"
  "$target/release/$program" completions zsh >"$pages/$program/_$program"
  "$target/release/$program" completions fish >"$pages/$program/$program.fish"
done

cargo deb --no-build --locked -p waxwing-server
cargo deb --no-build --locked -p waxwing-terminal
ls "$target"/debian/*.deb
