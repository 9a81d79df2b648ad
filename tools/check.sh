#!/bin/bash
# check.sh [STEP...] - everything CI runs, cheapest first; one line a step. Without a STEP:
# all of them. Logs are in build/check/.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/.." || exit 1

all_steps=(names format headers gcc symbols lint clang tests asan fuzz install)
fuzz_seconds=${FUZZ_SECONDS:-20} # of each fuzz target
lint_since=${LINT_SINCE:-}       # a git revision: lint only what changed since then
jobs=$(nproc)
logs=build/check

usage()
{
    cat <<'TEXT'
usage: tools/check.sh [STEP...]
  names    each foreign library is included by the one file that may; pruning methods know
           nothing of runs, fine-tuning and judging
  format   clang-format has nothing to change
  headers  every public header compiles alone, as C11 and as C++
  gcc      builds with gcc, warnings are errors
  symbols  what the library exports starts with wtl_; it calls nothing that prints, exits,
           reads the environment or the clock, or allocates behind wtl_alloc()
  lint     clang-tidy (LINT_SINCE=REVISION: only files changed since)
  clang    builds with clang, warnings are errors
  tests    the whole test suite on the gcc build
  asan     unit and fuzz-replay tests under AddressSanitizer and UBSan
  fuzz     each fuzz target for FUZZ_SECONDS (20)
  install  a consumer builds against the installed library
TEXT
}

# sources PATTERN...: our files whose path matches one of the patterns.
sources()
{
    local pattern
    for pattern; do
        find base data energy models prune tests tools train -path "$pattern" -type f
    done | sort
}

# may_include HEADER FILE: only FILE includes <HEADER>. (Tests may, to make files to read.)
may_include()
{
    ! sources '*.c' '*.h' | grep -v -e "^$2\$" -e '^tests/' |
        xargs grep -nE "#[[:space:]]*include[[:space:]]*[<\"]$1[>\"]"
}

# A method says which weights go; rounds, labels and files are the run's, equal for all. So
# prune/methods/ includes its own headers, two private ones of prune, and what a context holds.
methods_keep_apart()
{
    local own='eap\.h|methods\.h|local/reconstruct_private\.h'
    local public='blas|energy|mask|memory|method|moments|net|netdef|pricing|reconstruct|rng|sample|sense|status|threads'
    ! sources 'prune/methods/*' | xargs grep -nE '#[[:space:]]*include[[:space:]]*"' |
        grep -vE "\"($own|wattle/($public)\.h)\""
}

check_names()
{
    local failed=0
    may_include cblas.h base/blas.c || failed=1
    may_include png.h data/png.c || failed=1
    may_include jpeglib.h data/jpeg.c || failed=1
    may_include zlib.h base/file.c || failed=1
    may_include yaml.h energy/yaml_tree.c || failed=1
    may_include lapacke.h prune/local/lapack.c || failed=1
    may_include zip.h prune/masks/npz.c || failed=1
    methods_keep_apart || failed=1
    return $failed
}

check_format()
{
    sources '*.c' '*.h' | xargs clang-format --dry-run -Werror
}

# The folders whose headers a folder's headers may use.
used_by()
{
    case $1 in
    base) echo base ;;
    models | data) echo "$1 base" ;;
    energy) echo energy models base ;; # models for from_net.h
    train) echo train data models base ;;
    prune) echo prune train energy data models base ;;
    *) echo "no rule for the folder $1" >&2 ;;
    esac
}

check_headers()
{
    local header folder used flags failed=0 cxx
    cxx=$(command -v g++ || command -v clang++) || { echo "no C++ compiler"; return 1; }
    for header in $(sources '*/include/wattle/*.h'); do
        flags=(-Wall -Wextra -Wpedantic -Werror -fsyntax-only)
        folder=${header%%/*}
        for used in $(used_by "$folder"); do
            flags+=("-I$used/include")
        done
        echo "#include \"wattle/${header##*/}\"" > $logs/header.c
        gcc -std=c11 "${flags[@]}" $logs/header.c || failed=1
        "$cxx" -x c++ -std=c++11 "${flags[@]}" $logs/header.c || failed=1
    done
    rm -f $logs/header.c
    return $failed
}

check_gcc()
{
    cmake --preset dev -DCMAKE_C_COMPILER=gcc && cmake --build --preset dev
}

check_symbols()
{
    local library=build/dev/libwattle.a failed=0
    local forbidden='printf|vprintf|puts|putchar|perror|stdout|stderr|exit|_exit|abort|getenv|secure_getenv|setenv|time|clock|clock_gettime|gettimeofday|rand|srand|random|strtok|system'
    local memory='malloc|calloc|realloc|aligned_alloc|posix_memalign|strdup|strndup|asprintf|vasprintf|mmap'
    [ -e $library ] || check_gcc || return 1
    nm -A --extern-only --defined-only $library 2> /dev/null |
        awk '$NF !~ /^wtl_/ && NF > 2 { print "exported without wtl_: " $0; bad = 1 } END { exit bad }' ||
        failed=1
    nm -A --undefined-only $library 2> /dev/null |
        grep -E " U (__)?($forbidden)(_chk)?(@.*)?\$" && failed=1
    nm -A --undefined-only $library 2> /dev/null | grep -v ':memory\.c\.o:' |
        grep -E " U (__)?($memory)(_chk)?(@.*)?\$" && failed=1
    return $failed
}

check_lint()
{
    local files
    cmake --preset dev -DCMAKE_C_COMPILER=gcc || return 1
    files=$(sources '*.c' | grep -v '^tests/install/')
    if [ -n "$lint_since" ]; then
        files=$(echo "$files" | grep -xFf <(git diff --name-only "$lint_since"))
    fi
    [ -n "$files" ] || return 0
    # Asserts tell the analyzer what cannot be, so they are kept.
    echo "$files" | xargs -P "$jobs" -n 1 clang-tidy --quiet -p build/dev --extra-arg=-UNDEBUG
}

check_clang()
{
    cmake -S . -B build/clang -G Ninja -DCMAKE_C_COMPILER=clang -DWTL_WERROR=ON &&
        cmake --build build/clang
}

check_tests()
{
    check_gcc && ctest --preset dev --parallel "$jobs"
}

check_asan()
{
    cmake --preset asan && cmake --build --preset asan && ctest --preset asan --parallel "$jobs"
}

# One fuzz target; what it finds stays in build/check/.
fuzz_one()
{
    local target=$1 seconds=$2 name=${1#fuzz_} seeds=()
    local found=build/fuzz/found/$name
    mkdir -p "$found"
    for folder in tests/fuzz/corpus/$name tests/bad/$name; do
        [ -d "$folder" ] && seeds+=("$folder")
    done
    "build/fuzz/tests/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="build/check/$target-" "$found" "${seeds[@]}" \
        > "build/check/$target.log" 2>&1 && return 0
    echo "$target: $(grep -m 1 -E 'ERROR|runtime error' "build/check/$target.log")"
    echo "the input is in $(ls build/check/"$target"-* 2> /dev/null)"
    return 1
}
export -f fuzz_one

check_fuzz()
{
    local targets
    targets=$(sources 'tests/fuzz/fuzz_*.c' | sed 's,.*/,,; s,\.c$,,')
    [ -n "$targets" ] || { echo "no fuzz targets"; return 1; }
    cmake --preset fuzz || return 1
    # shellcheck disable=SC2086 # words are meant to split
    cmake --build --preset fuzz --target $targets || return 1
    echo "$targets" | xargs -P "$jobs" -I{} bash -c "fuzz_one {} $fuzz_seconds"
}

check_install()
{
    cmake --preset release && cmake --build --preset release && tests/install/check.sh build/release
}

run_step()
{
    local step=$1 begin=$SECONDS result
    "check_$step" > "$logs/$step.log" 2>&1
    result=$?
    if [ $result = 0 ]; then
        printf '%-8s ok      %4d s\n' "$step" $((SECONDS - begin))
    else
        printf '%-8s FAILED  %4d s  %s\n' "$step" $((SECONDS - begin)) "$logs/$step.log"
        tail -n 60 "$logs/$step.log"
    fi
    return $result
}

steps=("$@")
[ $# -gt 0 ] || steps=("${all_steps[@]}")
for step in "${steps[@]}"; do
    if [[ $step == -h || $step == --help ]]; then
        usage
        exit 0
    elif [[ " ${all_steps[*]} " != *" $step "* ]]; then
        usage >&2
        exit 64
    fi
done
mkdir -p $logs
failed=()
for step in "${steps[@]}"; do
    run_step "$step" || failed+=("$step")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
