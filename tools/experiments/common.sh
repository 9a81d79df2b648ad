# common.sh - sourced by the experiments: one function that trains, resumes, tests and reports.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
wattle=${WATTLE:-$root/build/release/tools/wattle}
out=${1:?usage: $(basename "$0") OUT ...}
threads=${THREADS:-$(nproc)}
# A figure is of the machine at hand, not of a kernel that somebody preset.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

# train_and_test NET DATA OPTION...: a run that was interrupted goes on, one that is done is
# only tested again.
train_and_test() {
    local net=$1 data=$2
    shift 2
    local run=$out/$net
    if [ -e "$run/config.json" ]; then
        "$wattle" train --resume --out "$run" --threads "$threads" --quiet
    else
        "$wattle" train --net "$net" --data "$data" --out "$run" --seed 0 \
            --threads "$threads" --quiet "$@"
    fi
    printf '%s: validation (last row of %s)\n' "$net" "$run/metrics.csv"
    tail -n 1 "$run/metrics.csv"
    printf '%s: test, last epoch\n' "$net"
    "$wattle" eval "$run/ckpt/last.wtl" --data "$data@test" --threads "$threads"
}
