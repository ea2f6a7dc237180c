# Completion of hiodctl for bash. Written by `make docs`; do not edit.
_hiodctl() {
    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"
    local verb="" options="" socket=() at
    for ((at = 1; at < COMP_CWORD; at++)); do
        case "${COMP_WORDS[at]}" in
        --socket) socket=(--socket "${COMP_WORDS[at+1]}"); at=$((at + 1)) ;;
        --user) socket=(--user) ;;
        -*) ;;
        *) [ -n "$verb" ] || verb="${COMP_WORDS[at]}" ;;
        esac
    done
    case "$before" in
    --socket | --file | -f | --config-dir | --cwd | --path | --python | --log)
        [ "$verb" = add ] || [ "$before" != -f ] && {
            COMPREPLY=($(compgen -f -- "$word"))
            return
        } ;;
    --after | --config-dir | --count | --cwd | --doer | --env | --for | --label | --lines | --log | --path | --python | --ready | --restart | --rolling | --since | --timeout | --tock | --wait | -d | -l | -n | -s)
        return ;;
    esac
    if [ -z "$verb" ]; then
        COMPREPLY=($(compgen -W "list status why events logs top add remove start stop restart scale signal send wait plan apply check export about ping try shutdown --socket --user --json --help --version" -- "$word"))
        return
    fi
    case "$verb" in
        list) options="--help --json --socket --user -h -l" ;;
        status) options="--help --json --lines --socket --user -h -l -n" ;;
        why) options="--help --json --socket --user -h -l" ;;
        events) options="--follow --help --json --lines --since --socket --user -f -h -l -n" ;;
        logs) options="--follow --help --json --lines --socket --user -f -h -n" ;;
        top) options="--help --json --socket --user -d -h -l -s" ;;
        add) options="--after --command --count --cwd --doer --env --file --help --json --label --log --no-start --no-wait --path --python --ready --replace --restart --socket --timeout --tock --user --wait -f -h" ;;
        remove) options="--help --json --no-wait --socket --timeout --user --wait -h -l" ;;
        start) options="--help --json --no-wait --socket --timeout --user --wait -h -l" ;;
        stop) options="--help --json --no-wait --socket --timeout --user --wait -h -l" ;;
        restart) options="--help --json --no-wait --rolling --socket --timeout --user --wait -h -l" ;;
        scale) options="--help --json --no-wait --socket --timeout --user --wait -h" ;;
        signal) options="--help --json --socket --user -h -l" ;;
        send) options="--help --json --socket --user -h" ;;
        wait) options="--for --help --json --socket --timeout --user -h -l" ;;
        plan) options="--help --json --socket --user -h" ;;
        apply) options="--help --json --no-wait --socket --timeout --user --wait -h" ;;
        check) options="--config-dir --help --json --socket --user -h" ;;
        export) options="--help --json --socket --user -h -l" ;;
        about) options="--help --json --socket --user -h" ;;
        ping) options="--help --json --socket --user -h" ;;
        try) options="--help --json --socket --user -h" ;;
        shutdown) options="--help --json --keep-hands --no-wait --socket --timeout --user -h" ;;
    esac
    if [[ "$word" == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
        return
    fi
    case "$verb" in
    list|status|why|events|logs|top|remove|start|stop|restart|scale|signal|send|wait|export)
        local hands
        hands=$(hiodctl "${socket[@]}" list 2>/dev/null |
            while read -r name _; do [ "$name" = NAME ] || echo "${name%\*}"; done)
        COMPREPLY=($(compgen -W "$hands" -- "$word")) ;;
    try | check) COMPREPLY=($(compgen -f -- "$word")) ;;
    esac
}
complete -F _hiodctl hiodctl
