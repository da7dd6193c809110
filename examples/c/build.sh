#!/bin/sh
# Builds build/order-desk-c.wasm. Says what is missing and how to install it.
set -eu
cd "$(dirname "$0")"
missing=0

# want NAME VERSION FOUND COMMAND: complains unless the version found is the one wanted.
want() {
    if [ "$3" != "$2" ]; then
        echo "build.sh: $1 $2 is missing${3:+ (found $3)}. Install it with:" >&2
        echo "    $4" >&2
        missing=1
    fi
}
# The compiler of this folder's own environment first, then any on the PATH.
PATH="$PWD/build/venv/bin:$PATH"
ziglang=$(sed -n 's/^ziglang==//p' requirements.txt)
want zig "$ziglang" "$(python-zig version 2>/dev/null || true)" \
    "python3 -m venv examples/c/build/venv && examples/c/build/venv/bin/pip install -r examples/c/requirements.txt"
want wit-bindgen 0.63.0 "$(wit-bindgen --version 2>/dev/null | sed 's/.* //')" \
    "cargo install --locked --debug wit-bindgen-cli@0.63.0 --no-default-features --features c,go"
want wasm-tools 1.262.0 "$(wasm-tools --version 2>/dev/null | cut -d' ' -f2)" \
    "cargo install --locked --debug wasm-tools@1.262.0 --no-default-features --features component"
[ $missing -eq 0 ] || exit 1

# The contract: this plugin's world and the host's packages beside it.
contract=${PLINTH_WIT:-../../wit}
rm -rf build/wit && mkdir -p build/wit
cp wit/order-desk.wit build/wit/
cp -r "$contract/deps" build/wit/deps

# `plugin` instead of the world's name, so that src/plinth.h fits every world.
wit-bindgen c build/wit --world order-desk --rename-world plugin --out-dir build/bindings >build/wit-bindgen.log 2>&1 ||
    { cat build/wit-bindgen.log >&2; exit 1; }

python-zig cc -target wasm32-wasi -mexec-model=reactor -std=c17 -Wall -Wextra -Os -s -Wl,--stack,65536 \
    -Ibuild/bindings -o build/core.wasm \
    src/desk.c src/plinth.c src/json.c build/bindings/plugin.c build/bindings/plugin_component_type.o
wasm-tools component new build/core.wasm -o build/order-desk-c.wasm
echo "examples/c/build/order-desk-c.wasm"
