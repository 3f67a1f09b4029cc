# bash completion for sluice, made by `sluice completion bash`

_sluice() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words=
    COMPREPLY=()
    case $before in
    -c | --password-file | --ca-file | --output)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --topic | --channel | --as | --subject | --role | --claim | --expires | --url | --token | --cursor | --count | --interval | --broker | --username | --for)
        return
        ;;
    esac
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="check init explain doctor healthcheck reload apikey token pub sub top schema reference completion -c --version --help"
    else
        case $command in
        check)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        init)
            words="--broker --username --password-file --ca-file --for --output"
            ;;
        explain)
            words="-c --topic --channel --as"
            ;;
        doctor)
            words="-c"
            ;;
        healthcheck)
            words="-c"
            ;;
        reload)
            words="-c"
            ;;
        token)
            words="-c --subject --role --claim --expires"
            ;;
        pub)
            words="-c --url --token"
            ;;
        sub)
            words="-c --url --token --cursor --count"
            ;;
        top)
            words="-c --url --interval --count"
            ;;
        reference)
            words="--man"
            ;;
        completion)
            words="bash zsh fish"
            ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _sluice sluice
