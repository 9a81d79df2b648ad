# lib.sh - what every CLI test sources: running the command, comparing, tiny data.
#
# A test script calls expect_* and ends with `finish`. WTL_BLESS=1 rewrites the stored
# outputs in expected/ instead of comparing with them.
set -u
: "${WATTLE:?path of the wattle command}" "${WTL_SOURCE_DIR:?root of the sources}"
[ -x "$WATTLE" ] || { echo "no command at $WATTLE"; exit 1; }
expected=$WTL_SOURCE_DIR/tests/cli/expected
work=$(mktemp -d)
failures=0
cleanup()
{
    local pids
    pids=$(jobs -p)
    [ -z "$pids" ] || kill -9 $pids 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
unset NO_COLOR

fail()
{
    echo "FAILED: $*"
    sed 's/^/    stderr: /' "$work/err" 2>/dev/null | tail -5
    failures=$((failures + 1))
}

finish()
{
    [ "$failures" -eq 0 ] && echo "all as expected" && exit 0
    echo "$failures failures"
    exit 1
}

skip()
{
    echo "skipped: $*"
    exit 77
}

# run ARGUMENT...: sets $code, leaves $work/out and $work/err.
run()
{
    "$WATTLE" "$@" >"$work/out" 2>"$work/err"
    code=$?
}

# expect CODE ARGUMENT...
expect()
{
    local want=$1
    shift
    run "$@"
    [ "$code" -eq "$want" ] || fail "exit $code, not $want: wattle $*"
}

# expect_error CODE 'TEXT' ARGUMENT...: nothing on stdout, one line on stderr that starts
# with "wattle: " and has TEXT in it.
expect_error()
{
    local want=$1 text=$2
    shift 2
    expect "$want" "$@"
    [ ! -s "$work/out" ] || fail "output beside an error: wattle $*"
    [ "$(wc -l <"$work/err")" -eq 1 ] || fail "not one line of error: wattle $*"
    grep -q '^wattle: ' "$work/err" || fail "no 'wattle: ' in: $(cat "$work/err")"
    grep -qF -- "$text" "$work/err" || fail "no '$text' in: $(cat "$work/err")"
}

# same_as NAME FILE: FILE is what is stored under expected/NAME.
same_as()
{
    if [ -n "${WTL_BLESS:-}" ]; then
        cp "$2" "$expected/$1"
        return
    fi
    diff -u "$expected/$1" "$2" || fail "differs from tests/cli/expected/$1"
}

# in_output 'TEXT': the last command's stdout has it.
in_output()
{
    grep -qF -- "$1" "$work/out" || fail "no '$1' in the output: $(head -c 400 "$work/out")"
}

# field NAME: the number of a top-level field of the JSON on stdout.
field()
{
    sed -nE "s/^  \"$1\": (-?[0-9.eE+-]+),?\$/\\1/p" "$work/out"
}

# big_endian NUMBER: four bytes as printf escapes.
big_endian()
{
    printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 >> 24 & 255)) $(($1 >> 16 & 255)) \
        $(($1 >> 8 & 255)) $(($1 & 255))
}

# make_part PREFIX COUNT KEY: IDX files of 8x8 pictures in 4 classes. Class k has two bright
# rows, 2k and 2k + 1, over a pattern that differs from picture to picture.
make_part()
{
    local prefix=$1 count=$2 key=$3 i p value images labels octal
    images=$(big_endian 2051)$(big_endian "$count")$(big_endian 8)$(big_endian 8)
    labels=$(big_endian 2049)$(big_endian "$count")
    for ((i = 0; i < count; i++)); do
        local class=$(((i * 7 + key) % 4))
        printf -v octal '\\x%02x' $class
        labels+=$octal
        for ((p = 0; p < 64; p++)); do
            value=$(((i * 31 + p * p * 17 + p * i * 3 + key) % 97))
            ((p / 16 == class)) && value=$((value + 12))
            printf -v octal '\\x%02x' $value
            images+=$octal
        done
    done
    printf "$images" >"$prefix-images-idx3-ubyte"
    printf "$labels" >"$prefix-labels-idx1-ubyte"
}

# make_data FOLDER: 320 training and 80 test pictures for `idx:FOLDER`.
make_data()
{
    mkdir -p "$1"
    make_part "$1/train" 320 1
    make_part "$1/t10k" 80 2
}

# make_net FILE: a net for these pictures, with everything that has state: batch norm's
# statistics, dropout's random numbers.
make_net()
{
    cat >"$1" <<'NET'
net tiny
classes 4
input data 1x8x8
preprocess order=rgb resize=none scale=0.00392157 mean=0.5 std=0.5
conv1 = conv data out=8 kernel=3 pad=1 bias=no
bn1   = batchnorm conv1
relu1 = relu bn1
pool1 = maxpool relu1 kernel=2 stride=2
drop1 = dropout pool1 rate=0.2
ip1   = dense drop1 out=classes
prob  = softmax ip1
NET
}

# wait_for 'CONDITION': until it holds, at most 20 s.
wait_for()
{
    local i
    for ((i = 0; i < 2000; i++)); do
        eval "$1" && return 0
        sleep 0.01
    done
    return 1
}

# make_dense EPOCHS OPTION...: data `idx:d`, tiny.net, and the net trained on it for a while:
# $dense is its checkpoint.
make_dense()
{
    local epochs=$1
    shift
    make_data d
    make_net tiny.net
    expect 0 train --net tiny.net --data idx:d --out dense --threads 1 --epochs "$epochs" \
        --batch 16 --lr 0.05 -q "$@"
    dense=dense/ckpt/last.wtl
}

# run_and_kill MOST_MS ARGUMENT...: kill -9 at a random moment within that time; $code is 137,
# or the command's own if it was faster.
run_and_kill()
{
    local ms=$((RANDOM % $1)) pid
    shift
    "$WATTLE" "$@" >out 2>err &
    pid=$!
    sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    code=$?
}

# kill_thrice COMMAND FOLDER MOST_MS OPTION...: `wattle COMMAND OPTION...` into FOLDER, killed and
# resumed again and again, three times at least, until it is done or 25 tries are over.
kill_thrice()
{
    local command=$1 folder=$2 most_ms=$3 kills=0 i
    shift 3
    for ((i = 0; i < 25; i++)); do
        # A run can be resumed from its config.json on, even before its first checkpoint.
        if [ -e "$folder/config.json" ]; then
            run_and_kill "$most_ms" "$command" --resume --out "$folder" -q
        else
            run_and_kill "$most_ms" "$command" "$@" --out "$folder" -q
        fi
        [ $code -eq 137 ] || [ $code -eq 0 ] || fail "exit $code on try $i"
        [ $code -eq 137 ] && kills=$((kills + 1))
        [ $code -eq 0 ] && [ $kills -ge 3 ] && break
        if [ $code -eq 0 ]; then # the machine became faster: anew, with shorter lives
            rm -rf "${folder:?}"
            kills=0
            most_ms=$((most_ms / 2 + 1))
            continue
        fi
        if [ -e "$folder/ckpt/last.wtl" ]; then
            run info "$folder/ckpt/last.wtl"
            [ $code -eq 0 ] || fail "a kill left a checkpoint that cannot be read"
        fi
    done
    echo "$kills kills"
    [ $kills -ge 3 ] || fail "only $kills kills: the run is too short for this test"
    expect 0 "$command" --resume --out "$folder" -q
}
