# fish completion for sluice, made by `sluice completion fish`

complete -c sluice -f
complete -c sluice -n __fish_use_subcommand -a check -d 'check a configuration and say everything that is wrong with it'
complete -c sluice -n __fish_use_subcommand -a explain -d 'which routes match a topic or a channel, why others do not, and what a client may do'
complete -c sluice -n __fish_use_subcommand -a healthcheck -d 'ask a running gateway whether it is alive'
complete -c sluice -n __fish_use_subcommand -a reload -d 'check the file, then have the running gateway read it again'
complete -c sluice -n __fish_use_subcommand -a apikey -d 'make an API key and its hash for auth.api_keys'
complete -c sluice -n __fish_use_subcommand -a schema -d 'print a JSON Schema of the configuration, for editors'
complete -c sluice -n __fish_use_subcommand -a reference -d 'print every key of the configuration, in Markdown or for man'
complete -c sluice -n __fish_use_subcommand -a completion -d 'print completions for a shell: bash, zsh or fish'
complete -c sluice -n __fish_use_subcommand -l version -d 'print the version'
complete -c sluice -n __fish_use_subcommand -l help -s h -d 'print a short help'
complete -c sluice -n __fish_use_subcommand -s c -r -F -d 'the configuration'
complete -c sluice -n '__fish_seen_subcommand_from check' -F
complete -c sluice -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'
complete -c sluice -n '__fish_seen_subcommand_from explain healthcheck reload' -s c -r -F -d 'the configuration'
complete -c sluice -n '__fish_seen_subcommand_from explain' -l topic -x -d 'the MQTT topic to explain'
complete -c sluice -n '__fish_seen_subcommand_from explain' -l channel -x -d 'the channel to explain'
complete -c sluice -n '__fish_seen_subcommand_from explain' -l as -x -a 'anonymous -' -d 'what this client may do: a JWT, an API key, anonymous, or - to read it from standard input'
complete -c sluice -n '__fish_seen_subcommand_from reference' -l man -d 'for man(1)'
