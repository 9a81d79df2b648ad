#!/bin/bash
# kill -9 at ten random moments of a pruning run: resumed each time, it ends with the bytes of
# a run that was left alone. With distillation, batch norm, dropout, a limit that makes it go
# back, and both kinds of methods.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1
make_dense 20
RANDOM=${WTL_TEST_SEED:-$$}
echo "WTL_TEST_SEED=$RANDOM"

# kill_and_compare NAME OPTION...
kill_and_compare()
{
    local name=$1 began most_ms kills=0 i
    shift
    local options="dense/ckpt/last.wtl --data idx:d --threads 1 --batch 4 --epochs 2
        --final-epochs 3 --distill 0.5 --recalibrate 5 --save-minutes 0.0001 $*"
    began=$(date +%s%N)
    "$WATTLE" prune $options --out "$name-whole" -q >out 2>err
    code=$?
    [ $code -eq 0 ] || [ $code -eq 2 ] || fail "exit $code of the uninterrupted run $name"
    most_ms=$((($(date +%s%N) - began) / 4000000 + 1))
    for ((i = 0; i < 60 && kills < 10; i++)); do
        # A run can be resumed from its config.json on, even before its first checkpoint.
        if [ -e "$name/config.json" ]; then
            run_and_kill "$most_ms" prune --resume --out "$name" -q
        else
            run_and_kill "$most_ms" prune $options --out "$name" --force -q
        fi
        if [ $code -eq 137 ]; then
            kills=$((kills + 1))
        elif [ $code -eq 0 ] || [ $code -eq 2 ]; then
            # It came to its end: once more from the start, with shorter lives.
            compare_runs "$name"
            rm -rf "${name:?}"
            most_ms=$((most_ms / 2 + 1))
        else
            fail "exit $code on try $i of $name"
            return
        fi
    done
    echo "$name: $kills kills"
    [ $kills -ge 10 ] || fail "only $kills kills: the run is too short for this test"
    [ -e "$name/config.json" ] || "$WATTLE" prune $options --out "$name" -q >out 2>err
    "$WATTLE" prune --resume --out "$name" -q >out 2>err
    compare_runs "$name"
}

compare_runs()
{
    cmp "$1-whole/ckpt/pruned.wtl" "$1/ckpt/pruned.wtl" || fail "$1: another network"
    cmp "$1-whole/ckpt/last.wtl" "$1/ckpt/last.wtl" || fail "$1: another last state"
    for run in "$1-whole" "$1"; do # all but the times
        sed -E 's/,[0-9.]*$//' "$run/metrics.csv" >"$run.metrics"
        sed -E 's/"seconds":[^}]*//' "$run/plan.jsonl" >"$run.plan"
    done
    cmp "$1-whole.metrics" "$1.metrics" || fail "$1: another course"
    diff "$1-whole.plan" "$1.plan" >diff || fail "$1: other decisions: $(head -3 diff)"
}

kill_and_compare energy-aware --method energy-aware --max-drop 5
kill_and_compare magnitude-sensitivity --method magnitude-sensitivity --target-energy 0.88 --rounds 3
finish
