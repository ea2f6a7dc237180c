# Completion of hiodctl for bash. Written by `make docs`; do not edit.
_hiodctl_give() {
    mapfile -t COMPREPLY < <(compgen "$@" -- "$word")
}
_hiodctl_files() {
    compopt -o filenames 2>/dev/null
    _hiodctl_give "$@"
}
_hiodctl_hands() {
    _hiodctl_give -W "$(hiodctl "${boss[@]}" list 2>/dev/null | while read -r name _; do
        name=${name%\*}
        [ "$name" = NAME ] || echo "$name"
        # The base of a counted hand means all of them.
        [[ $name =~ ^(.+)-[0-9]+$ ]] && echo "${BASH_REMATCH[1]}"
    done)"
}
_hiodctl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local verb="" nth=0 boss=() at value
    COMPREPLY=()
    # For readline --wait=ready is three words.
    if [ "$word" = "=" ]; then
        word=""
    elif [ "$before" = "=" ]; then
        before=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((at = 1; at < COMP_CWORD; at++)); do
        value=$((at + 1))
        [ "${COMP_WORDS[value]}" = "=" ] && value=$((value + 1))
        case "${COMP_WORDS[at]}" in
        --socket) boss=(--socket "${COMP_WORDS[value]/#\~/$HOME}") at=$value ;;
        --user) boss=(--user) ;;
        --)
            [ "$verb" = add ] && _hiodctl_give -c
            return ;;
        -f) [ "$verb" = add ] && at=$value ;;
        --after | --config-dir | --count | --cwd | --doer | --env | --file | --for | --label | --lines | --log | --path | --python | --ready | --restart | --since | --timeout | --tock | --wait | -d | -l | -n | -s) at=$value ;;
        --rolling) [ "${COMP_WORDS[at+1]}" = "=" ] && at=$value ;;
        -*) ;;
        *)
            if [ -n "$verb" ]; then nth=$((nth + 1)); else verb=${COMP_WORDS[at]}; fi ;;
        esac
    done
    if [ -z "$verb" ] && [[ "$before" != --socket ]]; then
        _hiodctl_give -W "list status why events logs top add remove start stop restart scale signal send wait plan apply check export about ping try shutdown --socket --user --json --help --version"
        return
    fi
    case "$verb $before" in
    "add --count" | "add --doer" | "add --env" | "add --label" | "add --timeout" | "add --tock" | "apply --timeout" | "events --lines" | "events --since" | "events -l" | "events -n" | "export -l" | "list -l" | "logs --lines" | "logs -n" | "remove --timeout" | "remove -l" | "restart --timeout" | "restart -l" | "scale --timeout" | "shutdown --timeout" | "signal -l" | "start --timeout" | "start -l" | "status --lines" | "status -l" | "status -n" | "stop --timeout" | "stop -l" | "top -d" | "top -l" | "wait --timeout" | "wait -l" | "why -l")
        :
        return ;;
    "add --cwd" | "add --path" | "check --config-dir")
        _hiodctl_files -d
        return ;;
    " --socket" | "about --socket" | "add --file" | "add --python" | "add --socket" | "add -f" | "apply --socket" | "check --socket" | "events --socket" | "export --socket" | "list --socket" | "logs --socket" | "ping --socket" | "plan --socket" | "remove --socket" | "restart --socket" | "scale --socket" | "send --socket" | "shutdown --socket" | "signal --socket" | "start --socket" | "status --socket" | "stop --socket" | "top --socket" | "try --socket" | "wait --socket" | "why --socket")
        _hiodctl_files -f
        return ;;
    "add --restart")
        _hiodctl_give -W "always on-failure never"
        return ;;
    "top -s")
        _hiodctl_give -W "c m l r n"
        return ;;
    "remove --wait" | "stop --wait")
        _hiodctl_give -W "gone"
        return ;;
    "add --log")
        _hiodctl_give -W "journal inherit null"
        return ;;
    "wait --for")
        _hiodctl_give -W "ready done stopped gone"
        return ;;
    "add --wait" | "restart --wait" | "scale --wait" | "start --wait")
        _hiodctl_give -W "ready done"
        return ;;
    "apply --wait")
        _hiodctl_give -W "ready"
        return ;;
    "add --ready")
        _hiodctl_give -W "register memo notify exit start connect="
        return ;;
    "add --after")
        _hiodctl_hands
        return ;;
    esac
    if [[ "$word" == -* ]]; then
        case "$verb" in
        list) _hiodctl_give -W "--help --json --socket --user -h -l" ;;
        status) _hiodctl_give -W "--help --json --lines --socket --user -h -l -n" ;;
        why) _hiodctl_give -W "--help --json --socket --user -h -l" ;;
        events) _hiodctl_give -W "--follow --help --json --lines --since --socket --user -f -h -l -n" ;;
        logs) _hiodctl_give -W "--follow --help --json --lines --socket --user -f -h -n" ;;
        top) _hiodctl_give -W "--help --json --socket --user -d -h -l -s" ;;
        add) _hiodctl_give -W "--after --command --count --cwd --doer --env --file --help --json --label --log --no-start --no-wait --path --python --ready --replace --restart --socket --timeout --tock --user --wait -f -h" ;;
        remove) _hiodctl_give -W "--help --json --no-wait --socket --timeout --user --wait -h -l" ;;
        start) _hiodctl_give -W "--help --json --no-wait --socket --timeout --user --wait -h -l" ;;
        stop) _hiodctl_give -W "--help --json --no-wait --socket --timeout --user --wait -h -l" ;;
        restart) _hiodctl_give -W "--help --json --no-wait --rolling --socket --timeout --user --wait -h -l" ;;
        scale) _hiodctl_give -W "--help --json --no-wait --socket --timeout --user --wait -h" ;;
        signal) _hiodctl_give -W "--help --json --socket --user -h -l" ;;
        send) _hiodctl_give -W "--help --json --socket --user -h" ;;
        wait) _hiodctl_give -W "--for --help --json --socket --timeout --user -h -l" ;;
        plan) _hiodctl_give -W "--help --json --socket --user -h" ;;
        apply) _hiodctl_give -W "--help --json --no-wait --socket --timeout --user --wait -h" ;;
        check) _hiodctl_give -W "--config-dir --help --json --socket --user -h" ;;
        export) _hiodctl_give -W "--help --json --socket --user -h -l" ;;
        about) _hiodctl_give -W "--help --json --socket --user -h" ;;
        ping) _hiodctl_give -W "--help --json --socket --user -h" ;;
        try) _hiodctl_give -W "--help --json --socket --user -h" ;;
        shutdown) _hiodctl_give -W "--help --json --keep-hands --no-wait --socket --timeout --user -h" ;;
        esac
        return
    fi
    case "$verb $nth" in
    "logs 0" | "scale 0" | "send 0") _hiodctl_hands ;;
    "signal 0") _hiodctl_give -W "HUP INT QUIT KILL USR1 USR2 TERM CONT STOP WINCH" ;;
    "list "* | "status "* | "why "* | "events "* | "top "* | "remove "* | "start "* | "stop "* | "restart "* | "signal "* | "wait "* | "export "*) _hiodctl_hands ;;
    "try "*) _hiodctl_files -f ;;
    esac
}
complete -F _hiodctl hiodctl
