#!/bin/bash
# wattle bench: tables, CSV, JSON. Times are the machine's; what is counted is not.
. "${BASH_SOURCE%/*}/lib.sh"
cd "$work" || exit 1
export XDG_CACHE_HOME=$work/cache
quick='--threads-list 1 --warmup 1 --seconds 0'
make_net tiny.net

# A row for each batch and number of threads; the rows' own numbers agree.
expect 0 bench tiny.net $quick --threads-list 1,2 --batches 1,3 --csv
[ "$(head -1 out)" = "threads,batch,images_per_second,median_ms,mean_ms,sd_ms,least_ms,most_ms,repeats,gflops,of_peak_percent,memory_mib,kernels,times_dense" ] ||
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
grep -qE '^1,2,bn1,batchnorm,forward,.*,"[^"]+, relu fused",-,-,-$' out || fail "bn1: $(cat out)"
[ "$(cut -d, -f3,5 out | tail -3 | tr '\n' ' ')" = "(loss),- (step),- (rest),- " ] ||
    fail "what is no layer: $(cat out)"

expect 0 bench tiny.net $quick --batches 1 --markdown
grep -qE '^\| 1 \| 1 \| [0-9.]+ \|' out || fail "no Markdown row"
grep -qE '^\|--:\|--:\|' out || fail "no Markdown heading"

# ---- zeros that pay, beside dense kernels ----
cat >wide.net <<'NET'
net wide
classes 4
input data 1x8x8
preprocess order=rgb resize=none scale=0.00392157 mean=0.5 std=0.5
conv1 = conv data out=16 kernel=3 pad=1
conv2 = conv conv1 out=32 kernel=5 pad=2
ip1   = dense conv2 out=classes
prob  = softmax ip1
NET
expect 0 train --net wide.net --data idx:d --out wide --threads 1 --epochs 1 --batch 16 --lr 0.01 -q
expect 0 prune wide/ckpt/last.wtl --data idx:d --method magnitude-global --rounds 1 --epochs 0 \
    --final-epochs 0 --threads 1 --target-energy 0.5 --exclude conv1 --out thin -q
thin=thin/ckpt/pruned.wtl
expect 0 info $thin --kernels
grep -qE '^conv2 .*  sparse' out || fail "conv2 is dense: $(grep conv2 out)"
expect 0 bench $thin $quick --batches 1,2 --csv
[ "$(cut -d, -f2,13 out | tail -4 | tr '\n' ' ')" = "1,sparse 1,dense 2,sparse 2,dense " ] ||
    fail "no pairs: $(cat out)"
# The ratio is that of the medians, to two digits behind the point.
awk -F, 'NR > 1 && $13 == "sparse" { rate = $3; ratio = $14 }
    NR > 1 && $13 == "dense" { if ($14 != "-" || (ratio - rate / $3)^2 > 0.006^2) exit 1 }' out || fail "ratios: $(cat out)"
expect 0 bench $thin $quick --batches 1 --layers
grep -qE '^ +1 +1 .* sparse +[0-9.]+$' out || fail "no sparse row"
grep -qE '^conv2 .* sparse.* +[0-9.]+ +[0-9.]+  (direct|winograd)' out || fail "conv2: $(grep conv2 out)"
expect 0 bench $thin $quick --batches 1 --layers --csv
grep -qE '^1,1,conv2,.*"?sparse[^"]*"?,[0-9.]+,[0-9.]+,"?(direct|winograd)' out || fail "conv2: $(grep conv2 out)"
expect 0 bench $thin $quick --batches 1 --json
[ "$(grep -oE '"kernels": "[a-z]+"' out | tr '\n' ' ')" = '"kernels": "sparse" "kernels": "dense" ' ] ||
    fail "kernels: $(grep kernels out)"
grep -qE '"times_dense": [0-9.]+' out || fail "no ratio"
expect 0 bench $thin $quick --batches 1 --markdown
grep -qE '\| sparse \| [0-9.]+ \|$' out || fail "no Markdown pair"
# Dense alone: asked for, without zeros, without a kernel that skips.
for how in "$thin --dense" "$thin --engine blas" wide/ckpt/last.wtl wide.net; do
    expect 0 bench $how $quick --batches 1 --csv
    [ "$(cut -d, -f13,14 out | tail -n +2)" = "dense,-" ] || fail "$how: $(cat out)"
done

# ---- rates of the kernels ----
[ ! -e cache ] || fail "something is cached without being asked for"
expect 0 bench --calibrate --isa plain --threads 1 --json
rates=cache/wattle/kernels-plain.json
[ -s $rates ] || fail "no $rates"
in_output '"isa": "plain"'
in_output "\"kept_in\": \"$work/$rates\""
for rate in dense_gflops winograd_gflops memory_gbs rows_ns rows_far_ns quads_ns quads_far_ns \
    sum_ns turn_ns copy_ns call_ns; do
    sed -nE "s/^ +\"$rate\": ([0-9.e-]+),?/\1/p" out $rates | # 9 digits of the one
        awk '{ v[NR] = $1 } END { exit NR != 2 || (v[1] - v[2])^2 > 1e-15 * v[1]^2 }' ||
        fail "$rate is another"
done
[ "$(grep -c '"pays_below_4x1": ' out)" -eq 10 ] || fail "not ten layers"
expect 0 bench --calibrate --isa plain --threads 1 --csv
[ "$(grep -cE '^(AlexNet|GoogLeNet) [^,]*(,[0-9.]+){5}$' out)" -eq 10 ] || fail "layers: $(cat out)"
expect 0 bench --calibrate --isa plain --threads 1 --markdown
grep -qE '^\| AlexNet conv2 \| [0-9.]+ \|' out || fail "no Markdown row"
expect 0 bench --calibrate --isa plain --threads 1
in_output "kept in $work/$rates"

# They count: with rates by which zeros never pay everything is dense.
sed -i -E 's/("(rows|quads)[a-z_]*_ns": )[0-9.e-]+/\11000/' $rates
expect 0 bench $thin $quick --isa plain --batches 1 --json
[ ! -s err ] || fail "a sound file is complained of: $(cat err)"
grep -qE '"kernel": "sparse, plain C' out && fail "sparse, at a thousand times the cost"
# Of another processor: not of use, but nothing to complain of.
sed -i -E 's/("processor": ").*"/\1another"/' $rates
expect 0 bench $thin $quick --isa plain --batches 1 --json
[ ! -s err ] || fail "another processor's file: $(cat err)"
in_output '"kernel": "sparse, plain C'
# Damaged, of another isa: one line, and the defaults.
for damage in 's/"version": 1/"version": 7/' 's/"isa": "plain"/"isa": "avx2"/' 's/[}]$//'; do
    sed "$damage" $rates >bad.json
    cp bad.json $rates.kept && mv $rates $rates.was && mv $rates.kept $rates
    expect 0 bench $thin $quick --isa plain --batches 1 --json
    [ "$(wc -l <err)" -eq 1 ] && grep -q "warning: .*/kernels-plain.json.*default rates" err ||
        fail "$damage: $(cat err)"
    in_output '"kernel": "sparse, plain C'
    mv $rates.was $rates
done
# A relative XDG_CACHE_HOME is ignored; nowhere to write.
mkdir home
XDG_CACHE_HOME=cache HOME=$work/home expect 0 bench --calibrate --isa plain --threads 1
[ -s home/.cache/wattle/kernels-plain.json ] || fail "not in ~/.cache"
touch file
XDG_CACHE_HOME=$work/file expect_error 73 "$work/file" bench --calibrate
XDG_CACHE_HOME='' HOME='' expect_error 73 "XDG_CACHE_HOME" bench --calibrate
mkdir -p taken/wattle/kernels-plain.json
XDG_CACHE_HOME=$work/taken expect_error 73 "kernels-plain.json" bench --calibrate --isa plain --threads 1
expect_error 64 "leave 'tiny.net' out" bench tiny.net --calibrate
expect_error 64 "without --layers" bench --calibrate --layers
expect_error 64 "CKPT|NET" bench
expect_error 64 "leave --train out" bench tiny.net --train --dense

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
