#!/usr/bin/env bash
# Makes a virtual environment .peers/NAME for each peer named, with the versions pinned in benchmarks/peers/NAME.txt.
#
#   benchmarks/make_peers.sh spyx snntorch norse spikingjelly
#
# benchmarks/suite.py times them all; tests/docs/test_migration.py compares what spyx and snntorch compute with
# neuroport, tests/nir/test_peers.py what snntorch and norse make of NIR files.
# PYTHON chooses the interpreter (default: python3; the peers need 3.11 or newer). An environment that exists is
# brought to the pinned versions; delete its folder to start afresh.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

if [ $# -eq 0 ]; then
    echo "usage: $0 NAME ...; known peers: $(cd "$here/peers" && ls ./*.txt | sed 's|^\./||; s|\.txt$||' | xargs)" >&2
    exit 2
fi

for name in "$@"; do
    pins=$here/peers/$name.txt
    if [ ! -f "$pins" ]; then
        echo "make_peers: unknown peer '$name': there is no $pins" >&2
        exit 2
    fi
    environment=$root/.peers/$name
    [ -x "$environment/bin/python" ] || "${PYTHON:-python3}" -m venv "$environment"
    "$environment/bin/python" -m pip install --quiet --no-compile --requirement "$pins"
    "$environment/bin/python" -m pip check || echo "make_peers: $name has conflicting requirements, see above" >&2
    "$environment/bin/python" -c "import importlib.metadata as m, $name; print('$name', m.version('$name'), 'imports')"
done
