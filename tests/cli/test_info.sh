#!/bin/bash
# wattle info: the zoo, networks, files, JSON.
. "${BASH_SOURCE%/*}/lib.sh"

expect 0 info --zoo
same_as zoo.txt "$work/out"
expect 0 info --zoo --json
in_output '"schema_version": 1'
[ "$(grep -c '"net":' "$work/out")" -eq "$(($(wc -l <"$expected/zoo.txt") - 1))" ] ||
    fail "the zoo has another length as JSON"

# Published figures: BVLC's GoogLeNet without its auxiliary heads, 6,379,728 in these.
expect 0 info googlenet-bvlc --json
[ "$(field parameters)" = 6998552 ] || fail "parameters: $(field parameters)"
[ "$(field macs)" = 1582671872 ] || fail "macs: $(field macs)"
[ "$(field training_only_parameters)" = 6379728 ] || fail "auxiliary heads"

make_net "$work/tiny.net"
cd "$work" || exit 1
expect 0 info tiny.net --threads 1
sed -E 's/[0-9.]+ [KM]iB/N KiB/g' "$work/out" >"$work/planned"
same_as info-tiny.txt "$work/planned"
expect 0 info tiny.net --threads 1 --json
# What the planner needs may change; that it tells may not.
sed -E 's/("[a-z]+_bytes": )[1-9][0-9]+/\1N/' "$work/out" >"$work/planned"
same_as info-tiny.json "$work/planned"
# By hand: 8*9 + 2*8 + 4*128 + 4 parameters; 8*9*64 + 4*128 MACs.
[ "$(field parameters)" = 604 ] || fail "parameters: $(field parameters)"
[ "$(field macs)" = 5120 ] || fail "macs: $(field macs)"
expect 0 info tiny.net --kernels
in_output "kernel"
expect 0 info lenet5:classes=3
in_output "classes 3"

expect_error 66 "did you mean" info lenet
expect_error 66 "" info no/such/file.net
expect_error 66 "" info no-such.wtl
printf 'net bad\ninput data 1x8x8\nc = conv data out=8\n' >bad.net
expect_error 65 "bad.net:3" info bad.net
printf 'net bad\ninput data 1x8x8\nc = conv data out=8 kernel=9\n' >big.net
expect_error 65 "c" info big.net
printf 'WATTLE\r\n\001\000\000\000' >cut.wtl
expect_error 65 "cut.wtl: offset" info cut.wtl
expect_error 64 "" info lenet5:classes=0
mkdir folder.wtl
expect_error 65 "" info folder.wtl

"$WATTLE" info --zoo >/dev/full 2>"$work/err"
[ $? -eq 73 ] || fail "a full disk is not told"
finish
