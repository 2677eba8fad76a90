package cli

import (
	"fmt"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"
)

// completionScripts ask the program itself what fits, so they never grow old. PROG stands for its
// name.
var completionScripts = []struct{ shell, script string }{
	{"bash", `# bash completion for PROG; load it with: source <(PROG completion bash)
_PROG_complete() {
    local cur words
    cur="${COMP_WORDS[COMP_CWORD]}"
    words=("${COMP_WORDS[@]:0:COMP_CWORD}")
    [[ "$cur" == -* ]] && words+=("$cur")
    COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _PROG_complete PROG
`},
	{"zsh", `#compdef PROG
# zsh completion for PROG; load it with: source <(PROG completion zsh)
_PROG() {
    local cur="${words[CURRENT]}"
    local -a asked found
    asked=("${(@)words[1,CURRENT-1]}")
    [[ "$cur" == -* ]] && asked+=("$cur")
    local _cli_answer
    _cli_answer=$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 "${asked[@]}" \
        --generate-bash-completion 2>/dev/null)
    found=("${(@f)_cli_answer}")
    if [[ -n "${found[1]}" ]]; then
        _describe 'values' found
    else
        _files
    fi
}
compdef _PROG PROG
`},
	{"fish", `# fish completion for PROG; load it with: PROG completion fish | source
function __PROG_complete
    set -l asked (commandline -opc)
    set -l cur (commandline -ct)
    if string match -q -- '-*' "$cur"
        set asked $asked "$cur"
    end
    $asked --generate-bash-completion 2>/dev/null
end
complete -c PROG -a '(__PROG_complete)'
`},
}

// CompletionCommand prints a script for a shell, as in "source <(PROG completion bash)".
func CompletionCommand(program string) *ucli.Command {
	return &ucli.Command{
		Name: "completion", Usage: "print a completion script for bash, zsh or fish",
		ArgsUsage: "bash|zsh|fish",
		BashComplete: func(c *ucli.Context) {
			for _, s := range completionScripts {
				fmt.Fprintln(c.App.Writer, s.shell)
			}
		},
		Action: func(c *ucli.Context) error {
			if err := RequireArgs(c, 1, 1); err != nil {
				return err
			}
			script, err := completionScript(program, c.Args().First())
			if err == nil {
				fmt.Fprint(c.App.Writer, script)
			}
			return err
		},
	}
}

func completionScript(program, shell string) (string, error) {
	var known []string
	for _, s := range completionScripts {
		if s.shell == shell {
			return strings.ReplaceAll(s.script, "PROG", program), nil
		}
		known = append(known, s.shell)
	}
	slices.Sort(known)
	return "", Errorf(Usage, "no completion for shell %q, only for %s", shell,
		strings.Join(known, ", "))
}
