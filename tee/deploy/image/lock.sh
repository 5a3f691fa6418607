#!/bin/bash
# Write requirements.lock anew: the newest wheels that requirements.in allows, by their hashes. lock.sh WHEELS keeps them there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/pins"
wheels=${1:?name a folder for the wheels}
platforms=$(printf -- '--platform manylinux_2_%s_x86_64 ' 28 27 26 24 17 12 5)
# shellcheck disable=SC2086
python3 -m pip download --quiet --disable-pip-version-check --dest "$wheels" --only-binary=:all: --implementation cp \
    --python-version "$PYTHON" --abi "cp${PYTHON/./}" --abi abi3 --abi none $platforms --platform manylinux2014_x86_64 \
    -r "$here/requirements.in"
{
    echo "# The server's libraries: made by lock.sh from requirements.in; one wheel each, for CPython $PYTHON on x86-64."
    for wheel in "$wheels"/*.whl; do
        IFS=- read -r name version _ <<< "$(basename "$wheel")"
        echo "${name//_/-}==$version --hash=sha256:$(sha256sum "$wheel" | cut -d ' ' -f 1)"
    done
} > "$here/requirements.lock"
