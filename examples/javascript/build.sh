#!/bin/sh
# Checks the types and builds build/order-desk-javascript.wasm. Says what is missing and how to install it.
set -eu
cd "$(dirname "$0")"

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    echo "build.sh: Node.js (18 or later) and npm are missing. On Debian: apt-get install nodejs npm" >&2
    exit 1
fi
if [ ! -x node_modules/.bin/componentize-qjs ] || [ ! -x node_modules/.bin/jco ] || [ ! -x node_modules/.bin/tsc ]; then
    echo "build.sh: the tools of package.json are missing. Install them with:" >&2
    echo "    npm --prefix examples/javascript install --no-save" >&2
    exit 1
fi
PATH="$PWD/node_modules/.bin:$PATH"

# The contract: this plugin's world and the host's packages beside it.
contract=${PLINTH_WIT:-../../wit}
rm -rf build/wit build/types && mkdir -p build/wit
cp wit/order-desk.wit build/wit/
cp -r "$contract/deps" build/wit/deps

jco guest-types build/wit --world-name order-desk --out-dir build/types --quiet
# componentize-qjs hands u64 and s64 over as numbers.
sed -i 's/\bbigint\b/number/g' build/types/*.d.ts build/types/interfaces/*.d.ts
tsc -p .

# Not --stub-wasi: it would stub wasi:config as well, which is how the desk reads its configuration.
componentize-qjs --wit build/wit --world order-desk --js src/desk.js --module-root src \
    --sync --output build/order-desk-javascript.wasm >build/componentize.log
echo "examples/javascript/build/order-desk-javascript.wasm"
