#!/bin/sh
# Compiles host.cpp as C++17 without a warning, and runs it. Usage: host.sh SOURCE_ROOT LIBHEDDLE CXX
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$3" -std=c++17 -Wall -Wextra -Wpedantic -Werror -I"$1/runtime/include" "$1/tests/headers/host.cpp" "$2" \
    -Wl,-rpath,"$(dirname "$2")" -o "$folder/host"
"$folder/host"
echo "1 passed, 0 failed"
