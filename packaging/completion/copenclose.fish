# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors
#
# Completion for fish. copenclose itself says what can follow.

function __copenclose_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    set -l found ($words[1] __complete $words[2..-1] "$typed" 2>/dev/null)
    for line in $found
        switch $line
            case ':files'
                set -l flag (string match -r -- '^--[a-z-]+=' "$typed")
                string replace -r -- '^' "$flag" (__fish_complete_path (string replace -- "$flag" '' "$typed"))
            case ':*'
            case '*'
                printf '%s\n' $line
        end
    end
end

# After -- is a command of its own.
function __copenclose_complete_command
    set -l words (commandline -opc)
    set -l rest $words[(math (contains -i -- -- $words) + 1)..-1]
    complete -C (string join ' ' -- (string escape -- $rest) (commandline -ct))
end

complete -c copenclose -f -n 'not contains -- -- (commandline -opc)' -a '(__copenclose_complete)'
complete -c copenclose -f -n 'contains -- -- (commandline -opc)' -a '(__copenclose_complete_command)'
