# fish completion for sluice

complete -c sluice -f
complete -c sluice -n __fish_use_subcommand -a check -d 'Say everything that is wrong with a configuration'
complete -c sluice -n __fish_use_subcommand -a explain -d 'Which routes match a topic or a channel'
complete -c sluice -n __fish_use_subcommand -a healthcheck -d 'Ask a running gateway whether it is alive'
complete -c sluice -n __fish_use_subcommand -a reload -d 'Have the running gateway read its configuration again'
complete -c sluice -n __fish_use_subcommand -a apikey -d 'Make an API key and its hash'
complete -c sluice -n __fish_use_subcommand -a schema -d 'Print a JSON Schema of the configuration'
complete -c sluice -n __fish_use_subcommand -a reference -d 'Print every key of the configuration'
complete -c sluice -n __fish_use_subcommand -l version -d 'Print the version'
complete -c sluice -n __fish_use_subcommand -l help -s h -d 'Print a short help'
complete -c sluice -n 'not __fish_seen_subcommand_from check apikey schema reference' -s c -r -F -d Configuration
complete -c sluice -n '__fish_seen_subcommand_from check' -F
complete -c sluice -n '__fish_seen_subcommand_from explain' -l topic -x -d 'MQTT topic to explain'
complete -c sluice -n '__fish_seen_subcommand_from explain' -l channel -x -d 'Channel to explain'
complete -c sluice -n '__fish_seen_subcommand_from explain' -l as -x -a 'anonymous -' -d 'What somebody may do there'
complete -c sluice -n '__fish_seen_subcommand_from reference' -l man -d 'For man(1)'
