#!/bin/bash
# kill -9 at random moments never leaves a run that cannot go on, and it ends with the bytes
# of a run that was left alone.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1
make_data d
make_net tiny.net
options="--net tiny.net --data idx:d --threads 1 --epochs 12 --batch 1 --lr 0.02
    --engine reference --save-minutes 0.0001"
RANDOM=${WTL_TEST_SEED:-$$}
echo "WTL_TEST_SEED=$RANDOM"

# The kills fall within the first quarter of the time that a whole run takes here and now.
began=$(date +%s%N)
"$WATTLE" train $options --out whole -q >/dev/null 2>err || fail "the uninterrupted run"
most_ms=$((($(date +%s%N) - began) / 4000000 + 1))

kills=0
for ((i = 0; i < 25; i++)); do
    # A run can be resumed from its config.json on, even before its first checkpoint.
    if [ -e parts/config.json ]; then
        "$WATTLE" train --resume --out parts -q >out 2>err &
    else
        "$WATTLE" train $options --out parts -q >out 2>err &
    fi
    pid=$!
    ms=$((RANDOM % most_ms))
    sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    code=$?
    [ $code -eq 137 ] || [ $code -eq 0 ] || fail "exit $code on try $i"
    [ $code -eq 137 ] && kills=$((kills + 1))
    [ $code -eq 0 ] && [ $kills -ge 3 ] && break
    if [ $code -eq 0 ]; then # the machine became faster: anew, with shorter lives
        rm -rf parts
        kills=0
        most_ms=$((most_ms / 2 + 1))
        continue
    fi
    if [ -e parts/ckpt/last.wtl ]; then
        run info parts/ckpt/last.wtl
        [ $code -eq 0 ] || fail "a kill left a checkpoint that cannot be read"
    fi
done
echo "$kills kills"
[ $kills -ge 3 ] || fail "only $kills kills: the run is too short for this test"
expect 0 train --resume --out parts -q
cmp whole/ckpt/last.wtl parts/ckpt/last.wtl || fail "the run has other bytes"
cmp whole/ckpt/best.wtl parts/ckpt/best.wtl || fail "the run has another best"
[ "$(wc -l <parts/metrics.csv)" -eq 13 ] || fail "metrics.csv: $(cat parts/metrics.csv)"
[ -z "$(find parts -name '*.tmp*')" ] || echo "left behind: $(find parts -name '*.tmp*')"
finish
