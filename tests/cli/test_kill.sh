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

kill_thrice train parts "$most_ms" $options
cmp whole/ckpt/last.wtl parts/ckpt/last.wtl || fail "the run has other bytes"
cmp whole/ckpt/best.wtl parts/ckpt/best.wtl || fail "the run has another best"
[ "$(wc -l <parts/metrics.csv)" -eq 13 ] || fail "metrics.csv: $(cat parts/metrics.csv)"
[ -z "$(find parts -name '*.tmp*')" ] || echo "left behind: $(find parts -name '*.tmp*')"
finish
