# bash completion for sluice

_sluice() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
    COMPREPLY=()
    case $before in
    -c)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --topic | --channel | --as) return ;;
    esac
    local words=
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="check explain healthcheck reload apikey schema reference -c --version --help"
    else
        case $command in
        check)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        explain) words="-c --topic --channel --as" ;;
        healthcheck | reload) words="-c" ;;
        reference) words="--man" ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _sluice sluice
