#!/bin/bash
# A run that is interrupted three times and resumed ends with the very bytes of one that is
# not; and what each signal does.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1
make_data d
make_net tiny.net
options="--net tiny.net --data idx:d --threads 1 --epochs 12 --batch 2 --lr 0.02 --ema 0.99
    --augment cifar --cutout 2 --engine reference"

"$WATTLE" train $options --out whole -q >/dev/null 2>err || fail "the uninterrupted run"

rows()
{
    if [ -e "$1/metrics.csv" ]; then
        wc -l <"$1/metrics.csv"
    else
        echo 0
    fi
}

# An epoch has 144 steps; log.jsonl tells every eighth step of the run, metrics.csv the end of
# an epoch.
next="train $options --out parts"
stops=0
mid_epoch=0
while read -r signal begun; do
    "$WATTLE" $next -q >out 2>err &
    pid=$!
    wait_for "$begun || ! kill -0 \$pid 2>/dev/null"
    kill -$signal $pid 2>/dev/null
    wait $pid
    code=$?
    [ $code -eq 75 ] || fail "exit $code, not 75, after SIG$signal"
    [ "$(wc -l <err)" -eq 1 ] || fail "not one line after SIG$signal"
    grep -qF "go on with 'wattle train --resume --out parts'" err || fail "no way to go on"
    [ $code -eq 75 ] && stops=$((stops + 1))
    cat err
    step=$(sed -nE 's/.* after step ([0-9]+) of 144; .*/\1/p' err)
    [ "${step:-0}" -gt 0 ] && [ "$step" -lt 144 ] && mid_epoch=$((mid_epoch + 1))
    next="train --resume --out parts"
done <<'STOPS'
TERM grep -qs '"epoch":2,"step":160,' parts/log.jsonl
INT grep -qs '"epoch":5,"step":640,' parts/log.jsonl
USR1 [ "$(rows parts)" -gt 8 ]
STOPS
[ $stops -eq 3 ] || fail "interrupted $stops times, not 3"
[ $mid_epoch -ge 1 ] || fail "never interrupted inside an epoch"
expect 0 train --resume --out parts
cmp whole/ckpt/last.wtl parts/ckpt/last.wtl || fail "the resumed run has other bytes"
cmp whole/ckpt/best.wtl parts/ckpt/best.wtl || fail "the resumed run has another best"
[ "$(wc -l <parts/metrics.csv)" -eq 13 ] || fail "metrics.csv: a head and 12 rows"

# A finished run stays as it is; with more epochs it goes on.
expect 0 train --resume --out parts
cmp whole/ckpt/last.wtl parts/ckpt/last.wtl || fail "resuming a finished run changed it"
expect 0 train --resume --out parts --epochs 13
[ "$(wc -l <parts/metrics.csv)" -eq 14 ] || fail "no row of the thirteenth epoch"

# A second signal exits at once. Both are pending when the stopped process goes on.
"$WATTLE" train $options --out twice -q >out 2>err &
pid=$!
wait_for '[ "$(rows twice)" -gt 1 ]' || fail "no first epoch"
kill -STOP $pid
kill -TERM $pid
kill -USR1 $pid
kill -CONT $pid
wait $pid
code=$?
[ $code -eq 130 ] || fail "exit $code, not 130, after two signals"
expect 0 train --resume --out twice
cmp whole/ckpt/last.wtl twice/ckpt/last.wtl || fail "other bytes after an exit at once"
finish
