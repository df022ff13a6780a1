#!/bin/sh
# Every header compiles alone: the public one as C11 and C++17, the others as C11.
# Usage: alone.sh SOURCE_ROOT BUILD_ROOT CC [CXX]
set -u
root=$1 build=$2 cc=$3 cxx=${4:-}
llvm=$("$(command -v llvm-config-22 || command -v llvm-config-19)" --includedir)
passed=0 failed=0
alone() { # NAME COMPILER FLAG...
    name=$1
    shift
    if printf '#include "%s"\n#include "%s"\n' "$name" "$name" |
        "$@" -Wall -Wextra -Wpedantic -Werror -fsyntax-only -; then
        passed=$((passed + 1))
    else
        echo "FAILED $name with $*"
        failed=$((failed + 1))
    fi
}

# The initialiser too: designated ones are no C++17.
use_of_init() {
    if printf '#include "heddle.h"\nstruct heddle_problem init = HEDDLE_PROBLEM_INIT;\n' |
        "$@" -Wall -Wextra -Wpedantic -Werror -I"$root/runtime/include" -fsyntax-only -; then
        passed=$((passed + 1))
    else
        echo "FAILED HEDDLE_PROBLEM_INIT with $*"
        failed=$((failed + 1))
    fi
}
use_of_init "$cc" -std=c11 -x c
[ -z "$cxx" ] || use_of_init "$cxx" -std=c++17 -x c++

alone heddle.h "$cc" -std=c11 -x c -I"$root/runtime/include"
[ -z "$cxx" ] || alone heddle.h "$cxx" -std=c++17 -x c++ -I"$root/runtime/include"
cd "$root" || exit 1
for header in compiler/*.h compiler/*/*.h dsl/*.h runtime/*.h cli/*.h; do
    # -Wno-pedantic: jumps and bit tricks are GNU C inside.
    alone "$header" "$cc" -std=gnu11 -D_DEFAULT_SOURCE -x c -Wno-pedantic -I"$root" \
        -I"$root/runtime/include" -I"$build" -isystem "$llvm"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
