#!/bin/bash
# Help texts, the version, and stdout that cannot be written.
. "${BASH_SOURCE%/*}/lib.sh"

expect 0 --help
same_as help.txt "$work/out"
# The commands are those of the overview, but for `help` itself.
commands=$(awk '/^Commands:/ { on = 1; next } on && !NF { exit } on && $1 != "help" { print $1 }' \
    "$work/out")
[ "$(echo "$commands" | wc -l)" -ge 10 ] || fail "not all commands: $commands"
for command in $commands; do
    expect 0 $command --help
    same_as "help-$command.txt" "$work/out"
    [ ! -s "$work/err" ] || fail "$command --help writes to stderr"
    cp "$work/out" "$work/first"
    expect 0 help $command
    cmp "$work/first" "$work/out" || fail "help $command is not $command --help"
    expect 0 $command -h
    cmp "$work/first" "$work/out" || fail "$command -h is not $command --help"
    # The completion (twice: behind `wattle` and behind `wattle help`) and the man page (in its
    # synopsis and its list) know the command.
    [ "$(grep -cE "words='demo[a-z -]* $command\b|words='$command\b" \
        "$WTL_SOURCE_DIR/tools/completion/wattle.bash")" -eq 2 ] || fail "completion of $command"
    for entry in "^\.B wattle $command( |\$)" "^\.B $command\$"; do
        grep -qE "$entry" "$WTL_SOURCE_DIR/tools/wattle.1" || fail "the man page lacks $entry"
    done
    # The man page and the help name the same options.
    for option in $(grep -oE '^ +(-., )?--[a-z-]+' "$work/first" | grep -oE -e '--[a-z-]+'); do
        sed 's/\\-/-/g' "$WTL_SOURCE_DIR/tools/wattle.1" | grep -qF -e "$option" ||
            fail "the man page lacks $option"
    done
done
expect 0 --version
grep -qE '^wattle [0-9]+\.[0-9]+\.[0-9]+$' "$work/out" || fail "version: $(cat "$work/out")"

# A full disk, a closed stdout and a reader that went away are told, with exit code 73.
for target in /dev/full closed pipe; do
    case $target in
    /dev/full) "$WATTLE" --help >/dev/full 2>"$work/err" ;;
    closed) "$WATTLE" --help >&- 2>"$work/err" ;;
    pipe)
        # The reader is gone before the command starts.
        { sleep 0.2 && "$WATTLE" --help 2>"$work/err"; echo $? >"$work/code"; } | true
        wait_for '[ -s "$work/code" ]'
        (exit "$(cat "$work/code")")
        ;;
    esac
    code=$?
    [ $code -eq 73 ] || fail "exit $code, not 73, for $target"
    grep -q '^wattle: cannot write' "$work/err" || fail "no message for $target"
    [ "$(wc -l <"$work/err")" -eq 1 ] || fail "not one line for $target"
done
finish
