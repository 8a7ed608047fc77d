/** Shells that there is a script for. */
export type Shell = "bash" | "zsh" | "fish";

/**
 * A script asks `mdctl completion SHELL -- WORD...` for candidates, one a line: the words up to the cursor, the last of
 * them the one that is being typed. Where it has none the shell offers files.
 */
const scripts: Readonly<Record<Shell, string>> = {
  // bash cuts words at "=" and ":" and replaces only what is behind the last cut.
  bash: `# bash completion for mdctl: source <(mdctl completion bash)
_mdctl() {
  local line=\${COMP_LINE:0:COMP_POINT} words cut=
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  local current=\${words[-1]}
  [[ $current == *[=:]* ]] && cut=\${current%"\${current##*[=:]}"}
  local IFS=$'\\n'
  COMPREPLY=($(mdctl completion bash -- "\${words[@]:1}" 2>/dev/null))
  COMPREPLY=("\${COMPREPLY[@]#"$cut"}")
  [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
}
complete -o default -F _mdctl mdctl
`,
  zsh: `#compdef mdctl
# zsh completion for mdctl: mdctl completion zsh > "\${fpath[1]}/_mdctl"
_mdctl() {
  local -a found open
  found=("\${(@f)$(mdctl completion zsh -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  found=("\${(@)found:#}")
  open=("\${(@M)found:#*=}")
  found=("\${(@)found:#*=}")
  if (( \${#found} + \${#open} == 0 )); then
    _files
    return
  fi
  if (( \${#found} )); then compadd -Q -a found; fi
  if (( \${#open} )); then compadd -Q -S '' -a open; fi
}
if [[ \${funcstack[1]} == _mdctl ]]; then
  _mdctl "$@"
else
  compdef _mdctl mdctl
fi
`,
  fish: `# fish completion for mdctl: mdctl completion fish > ~/.config/fish/completions/mdctl.fish
function __mdctl_candidates
  set -l words (commandline -opc) (commandline -ct)
  set -l found (mdctl completion fish -- $words[2..] 2>/dev/null)
  if test (count $found) -eq 0
    __fish_complete_path (commandline -ct)
  else
    printf '%s\\n' $found
  end
end
complete -c mdctl -f -a '(__mdctl_candidates)'
`,
};

export const isShell = (word: string): word is Shell => Object.hasOwn(scripts, word);

export const scriptFor = (shell: Shell): string => scripts[shell];
