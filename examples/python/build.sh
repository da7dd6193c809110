#!/bin/sh
# Builds build/order-desk-python.wasm. Says what is missing and how to install it.
set -eu
cd "$(dirname "$0")"
version=$(sed -n 's/^componentize-py==//p' requirements.txt)

# The tool of this folder's own environment first, then any on the PATH.
PATH="$PWD/build/venv/bin:$PATH"
if [ "$(componentize-py --version 2>/dev/null)" != "componentize-py $version" ]; then
    echo "build.sh: componentize-py $version is missing. Install it with:" >&2
    echo "    python3 -m venv examples/python/build/venv && examples/python/build/venv/bin/pip install -r examples/python/requirements.txt" >&2
    exit 1
fi

# The contract: this plugin's world and the host's packages beside it.
contract=${PLINTH_WIT:-../../wit}
rm -rf build/wit && mkdir -p build/wit
cp wit/order-desk.wit build/wit/
cp -r "$contract/deps" build/wit/deps

# Without the interpreter's cache and only what belongs to the plugin.
rm -rf build/app && mkdir build/app
cp desk.py plinth.py build/app/
# For the editor: build/bindings has the types of everything imported.
rm -rf build/bindings
componentize-py --quiet -d build/wit -w order-desk bindings build/bindings
componentize-py --quiet -d build/wit -w order-desk componentize -p build/app desk -o build/order-desk-python.wasm
echo "examples/python/build/order-desk-python.wasm"
