#!/bin/bash
# wattle bench: tables, CSV, JSON. Times are the machine's; what is counted is not.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1
quick='--threads-list 1 --warmup 1 --seconds 0'
make_net tiny.net

# A row for each batch and number of threads; the rows' own numbers agree.
expect 0 bench tiny.net $quick --threads-list 1,2 --batches 1,3 --csv
[ "$(head -1 out)" = "threads,batch,images_per_second,median_ms,mean_ms,sd_ms,least_ms,most_ms,repeats,gflops,of_peak_percent,memory_mib" ] ||
    fail "heading: $(head -1 out)"
[ "$(cut -d, -f1,2,9 out | tail -4 | tr '\n' ' ')" = "1,1,3 1,3,3 2,1,3 2,3,3 " ] ||
    fail "rows: $(cat out)"
# images/s to 0.1, milliseconds to 0.001: a thousandth of a percent and more is rounding.
awk -F, 'NR > 1 && ($7 > $4 || $4 > $8 || $5 < $7 || $5 > $8 || $6 < 0 ||
    $3 > ($2 + 0.0001) / ($4 - 0.0005) * 1000 + 0.1 ||
    $3 < $2 / ($4 + 0.0005) * 1000 - 0.1) { exit 1 }' out || fail "numbers disagree: $(cat out)"

# By hand, of a batch of 3: 4608 MACs of conv1, 512 of ip1, 2 operations each. Batch norm is
# folded, dropout is nothing at inference.
expect 0 bench tiny.net $quick --batches 3 --json
in_output '"schema_version": 1'
in_output '"pass": "inference"'
in_output '"batchnorm_folded": true'
[ "$(grep -oE '"flops": [0-9.]+' out | tr '\n' ' ')" = \
    '"flops": 30720.0 "flops": 27648.0 "flops": 0.0 "flops": 3072.0 "flops": 0.0 ' ] ||
    fail "operations: $(grep flops out)"
[ "$(sed -nE 's/^ +"name": "(.*)",/\1/p' out | tr '\n' ' ')" = "conv1 pool1 ip1 prob " ] ||
    fail "layers: $(grep name out)"
# By hand: conv1 reads 3 * 64 floats, writes 3 * 512, and has 72 weights and, folded, 8 biases.
[ "$(grep -oE '"bytes": [0-9.]+' out | head -1)" = '"bytes": 7232.0' ] ||
    fail "bytes: $(grep bytes out)"

expect 0 bench tiny.net $quick --batches 1 --no-fold --layers
grep -qE '^bn1 +batchnorm +forward +[0-9.]+ ' out || fail "bn1 is folded"
grep -qE '^\(rest\) ' out || fail "no rest"
grep -qE '^limits, 1 thread: [0-9.]+ GFLOP/s \(' out || fail "no limits"

# The first layer's backward has no gradient of images to compute: 1 time its operations, ip1's 2.
make_dense 1
expect 0 bench $dense $quick --batches 2 --train --repeats 2 --json
in_output '"pass": "training"'
in_output '"repeats": 2'
in_output '"step_seconds"'
# Of two values median and mean are halfway, and the deviation is their distance by root 2.
sed -nE 's/^ +"(median|mean|sd|least|most)": ([0-9.e-]+),?$/\1 \2/p' out |
    awk '{ v[$1] = $2 } function far(a, b) { return (a - b)^2 > 1e-12 * b^2 }
        END { half = (v["least"] + v["most"]) / 2
            exit far(v["median"], half) || far(v["mean"], half) ||
                (v["sd"] * sqrt(2) - (v["most"] - v["least"]))^2 > 1e-10 * half^2 }' ||
    fail "statistics: $(grep -A 6 '"seconds": {' out)"
[ "$(grep -oE '"flops": [0-9.]+' out | grep -v ' 0.0' | tr '\n' ' ')" = \
    '"flops": 43008.0 "flops": 18432.0 "flops": 2048.0 "flops": 4096.0 "flops": 18432.0 ' ] ||
    fail "operations of training: $(grep flops out)"
expect 0 bench $dense $quick --batches 2 --train --layers --csv
grep -qE '^1,2,bn1,batchnorm,forward,.*,"[^"]+, relu fused"$' out || fail "bn1: $(cat out)"
[ "$(cut -d, -f3,5 out | tail -3 | tr '\n' ' ')" = "(loss),- (step),- (rest),- " ] ||
    fail "what is no layer: $(cat out)"

expect 0 bench tiny.net $quick --batches 1 --markdown
grep -qE '^\| 1 \| 1 \| [0-9.]+ \|' out || fail "no Markdown row"
grep -qE '^\|--:\|--:\|' out || fail "no Markdown heading"

# Bound threads: the processors are counted, not the one that this thread is bound to.
here=$(nproc)
OMP_PROC_BIND=true OMP_PLACES=cores expect 0 info tiny.net --json
[ "$(sed -nE 's/^ +"threads": ([0-9]+),/\1/p' out)" = "$here" ] ||
    fail "threads when bound: $(grep threads out), not $here"

expect_error 66 "did you mean" bench lenet
expect_error 66 "" bench no-such.wtl
printf 'WATTLE\r\n\001\000\000\000' >cut.wtl
expect_error 65 "cut.wtl: offset" bench cut.wtl
printf 'net bare\ninput data 1x8x8\nc = conv data out=8 kernel=3\n' >bare.net
expect_error 64 "softmax" bench bare.net $quick --batches 1 --train
expect 0 bench bare.net $quick --batches 1
finish
