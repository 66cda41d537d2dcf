"""Completion scripts for bash, zsh and fish. They hold all words, so that no Python starts when TAB is pressed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from keybed.experiments.cli.completion_words import CommandWords, Value


def bash(commands: Sequence[CommandWords]) -> str:
    """A script for `source <(keybed completion bash)`, or a file of bash-completion's folder."""
    return f"""# bash completion of keybed, written by `keybed completion bash`
_keybed() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} command= word
  # readline splits --profile=tiered at the sign
  if [[ $current == = ]]; then current=
  elif [[ $previous == = ]]; then previous=${{COMP_WORDS[COMP_CWORD-2]}}; fi
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$command/$word" in
{_indented(_path_cases(commands, ""))}
    esac
  done
  COMPREPLY=()
  case "$command $previous" in
{_indented(_bash_values(commands))}
  esac
  local words=
  if [[ $current == -* ]]; then
    case "$command" in
{_indented(_bash_words(commands, options=True))}
    esac
  else
    case "$command" in
{_indented(_bash_words(commands, options=False))}
    esac
  fi
  if [[ -n $words ]]; then COMPREPLY=($(compgen -W "$words" -- "$current")); fi
}}
complete -o default -F _keybed keybed
"""


def _bash_values(commands: Sequence[CommandWords]) -> Iterator[str]:
    for patterns, value in _values(commands):
        if value == "file":
            yield f"{patterns}) return ;;"  # readline completes file names
        elif value == "text":
            yield f"{patterns}) compopt +o default 2>/dev/null; return ;;"
        else:
            words = shlex.quote(" ".join(value))
            yield f'{patterns}) COMPREPLY=($(compgen -W {words} -- "$current")); return ;;'


def _bash_words(commands: Sequence[CommandWords], *, options: bool) -> Iterator[str]:
    for command in commands:
        arguments = command.commands or (command.argument if isinstance(command.argument, tuple) else ())
        words = [flag for option in command.options for flag in option.flags] if options else arguments
        if words:
            yield f"{shlex.quote(' '.join(command.path))}) words={shlex.quote(' '.join(words))} ;;"


def zsh(commands: Sequence[CommandWords]) -> str:
    """A script for `source <(keybed completion zsh)` after compinit, or a file `_keybed` in a folder of $fpath."""
    return f"""#compdef keybed
# zsh completion of keybed, written by `keybed completion zsh`
_keybed() {{
  local command= word previous=$words[CURRENT-1]
  local -a entries
  for word in $words[2,CURRENT-1]; do
    case "$command/$word" in
{_indented(_path_cases(commands, "("))}
    esac
  done
  case "$command $previous" in
{_indented(_zsh_values(commands))}
  esac
  if [[ $words[CURRENT] == -* ]]; then
    case "$command" in
{_indented(_zsh_options(commands))}
    esac
    _describe -o option entries
    return
  fi
  case "$command" in
{_indented(_zsh_arguments(commands))}
    (*) _files ;;
  esac
}}
if [[ $funcstack[1] == _keybed ]]; then _keybed "$@"; else compdef _keybed keybed; fi
"""


def _zsh_values(commands: Sequence[CommandWords]) -> Iterator[str]:
    for patterns, value in _values(commands):
        if value == "file":
            yield f"({patterns}) _files; return ;;"
        elif value == "text":
            yield f"({patterns}) _message value; return ;;"
        else:
            yield f"({patterns}) compadd -- {shlex.join(value)}; return ;;"


def _zsh_options(commands: Sequence[CommandWords]) -> Iterator[str]:
    for command in commands:
        entries = [shlex.quote(f"{flag}:{option.help}") for option in command.options for flag in option.flags]
        yield f"({shlex.quote(' '.join(command.path))}) entries=({' '.join(entries)}) ;;"


def _zsh_arguments(commands: Sequence[CommandWords]) -> Iterator[str]:
    help_of = {command.path: command.help for command in commands}
    for command in commands:
        path = shlex.quote(" ".join(command.path))
        if command.commands:
            entries = [shlex.quote(f"{name}:{help_of[(*command.path, name)]}") for name in command.commands]
            yield f"({path}) entries=({' '.join(entries)}); _describe command entries ;;"
        elif isinstance(command.argument, tuple):
            yield f"({path}) compadd -- {shlex.join(command.argument)} ;;"


def fish(commands: Sequence[CommandWords]) -> str:
    """A script for `keybed completion fish | source`, or a file `keybed.fish` of fish's completions folder."""
    cases = "\n".join(
        f"            case {_fish_quoted('/'.join((' '.join(command.path), name)))}\n"
        f"                set command {_fish_quoted(' '.join((*command.path, name)))}"
        for command in commands
        for name in command.commands
    )
    return f"""# fish completion of keybed, written by `keybed completion fish`
function __keybed_is
    set -l command ''
    for word in (commandline -opc)[2..]
        switch "$command/$word"
{cases}
        end
    end
    test "$command" = "$argv[1]"
end
{"".join(f"{line}{chr(10)}" for line in _fish_lines(commands))}"""


def _fish_lines(commands: Sequence[CommandWords]) -> Iterator[str]:
    help_of = {command.path: command.help for command in commands}
    for command in commands:
        condition = _fish_quoted(f"__keybed_is {_fish_quoted(' '.join(command.path))}")
        begin = f"complete -c keybed -n {condition}"
        for name in command.commands:
            yield f"{begin} -f -a {name} -d {_fish_quoted(help_of[(*command.path, name)])}"
        if isinstance(command.argument, tuple):
            yield f"{begin} -f -a {_fish_quoted(' '.join(command.argument))}"
        for option in command.options:
            flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
            value = {"none": "", "file": " -r -F", "text": " -x"}.get(str(option.value))
            if isinstance(option.value, tuple):
                value = f" -x -a {_fish_quoted(' '.join(option.value))}"
            yield f"{begin} {flags}{value} -d {_fish_quoted(option.help)}"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _path_cases(commands: Sequence[CommandWords], opening: str) -> Iterator[str]:
    """Cases that follow the words on the line down to the command that they name."""
    for command in commands:
        for name in command.commands:
            here, below = " ".join(command.path), " ".join((*command.path, name))
            yield f"{opening}{shlex.quote(f'{here}/{name}')}) command={shlex.quote(below)} ;;"


def _values(commands: Sequence[CommandWords]) -> Iterator[tuple[str, Value]]:
    """Patterns `'command --option'` joined by "|", and what follows that option."""
    for command in commands:
        for option in command.options:
            if option.value != "none":
                before = " ".join(command.path)
                yield "|".join(shlex.quote(f"{before} {flag}") for flag in option.flags), option.value


def _indented(lines: Iterator[str]) -> str:
    return "\n".join(f"      {line}" for line in lines)


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}
