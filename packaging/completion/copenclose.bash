# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors
#
# Completion for bash. copenclose itself says what can follow.

_copenclose()
{
	local i word line more='' words=()

	# After -- is a command of its own.
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ ${COMP_WORDS[i]} == -- ]]; then
			if declare -F _command_offset >/dev/null; then
				_command_offset $((i + 1))
			elif ((i + 1 == COMP_CWORD)); then
				mapfile -t COMPREPLY < <(compgen -c -- "${COMP_WORDS[COMP_CWORD]}")
			else
				compopt -o default
			fi
			return
		fi
	done

	# Bash cuts words at = and :, which are part of them here.
	for ((i = 1; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if ((i == COMP_CWORD)); then
			word=${word:0:COMP_POINT}
		fi
		if ((${#words[@]})) && [[ $word == [=:]* || ${COMP_WORDS[i - 1]} == *[=:] ]] &&
			[[ $COMP_LINE == *"${words[-1]}$word"* ]]; then
			words[-1]+=$word
		else
			words+=("$word")
		fi
	done
	word=${words[-1]}

	COMPREPLY=()
	while IFS= read -r line; do
		case $line in
		:*) more=$line ;;
		*) COMPREPLY+=("${line%%$'\t'*}") ;;
		esac
	done < <("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)
	case $more in
	:files) compopt -o default ;;
	:list) compopt -o nospace ;;
	esac

	# What bash has cut off stands there already.
	if [[ $word == *[=:]* && ${COMP_WORDBREAKS} == *[=:]* ]]; then
		line=${word%"${word##*[=:]}"}
		COMPREPLY=("${COMPREPLY[@]#"$line"}")
	fi
}

complete -F _copenclose copenclose
