/**
 * Manual pages and completions, made from what the built program says of itself, so that they cannot
 * drift: manuals.mjs <dist/main.js> <out> <version> <date>
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [main = '', out = '', version = '', date = ''] = process.argv.slice(2);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const help = (...command) =>
  execFileSync(process.execPath, [main, ...command, '--help'], {
    encoding: 'utf8',
    env: { ...process.env, COLUMNS: '1000' },
  });

/** The rows of one section of a help text: what it is called, and what it does. */
function rows(text, section) {
  const [, body = ''] = new RegExp(`^${section}:\\n((?: .*\\n?)+)`, 'm').exec(text) ?? [];
  return [...body.matchAll(/^ {2}(\S.*?) {2,}(.+)$/gm)].map(([, term, what]) => ({ term, what }));
}

const roff = (text) => text.replace(/\\/g, '\\e').replace(/-/g, '\\-').replace(/^([.'])/gm, '\\&$1');
const entry = ({ term, what }) => `.TP\n.B ${roff(term)}\n${roff(what)}\n`;

const top = help();
const options = rows(top, 'Options');
const commands = rows(top, 'Commands').map(({ term, what }) => {
  const [name = ''] = term.split(' ');
  const text = name === 'help' ? '' : help(name);
  const own = rows(text, 'Options');
  return {
    name,
    examples: rows(text, 'Examples'),
    // The arguments, in order: <repository> <tags...>
    takes: [...term.replace('[options]', '').matchAll(/[<[](\w+)(?:\.\.\.)?[>\]]/g)].map(
      ([, what]) => what,
    ),
    term: term.replace(' [options]', ''),
    what,
    own: own.filter((each) => !each.term.startsWith('-h')),
  };
});
if (commands.length < 10 || options.length < 4) throw new Error(`no help to be made of:\n${top}`);

const values = {
  DATE: date,
  VERSION: version,
  OPTIONS: options.map(entry).join('').trimEnd(),
  COMMANDS: commands
    .map((each) => {
      const inner = each.own.map(entry).join('');
      return entry(each) + (inner && `.RS\n${inner}.RE\n`);
    })
    .join('')
    .trimEnd(),
  EXAMPLES: commands
    .flatMap(({ examples }) => examples)
    .map(entry)
    .join('')
    .trimEnd(),
  EXITCODES: rows(top, 'Exit codes').map(entry).join('').trimEnd(),
  SETTINGS: roff(readFileSync(join(ROOT, 'config', 'dropdock.yaml'), 'utf8').trimEnd()),
};

mkdirSync(out, { recursive: true });
for (const page of ['dropdock.1', 'dropdock.yaml.5', 'dropdock.service.8']) {
  const text = readFileSync(join(ROOT, 'docs', 'man', `${page}.in`), 'utf8');
  writeFileSync(
    join(out, page),
    text.replace(/@([A-Z]+)@/g, (_all, name) => values[name]),
  );
}

const flagsOf = (list) => list.flatMap(({ term }) => term.match(/--[a-z-]+/g) ?? []);
/** What `dropdock complete` calls the values of an argument; files have no such name. */
const VALUES = {
  repository: 'repositories',
  repositories: 'repositories',
  tags: 'tags',
  timestamp: 'snapshots',
  path: 'files',
};
/** The kind of each argument; the last one may repeat. */
const kindsOf = ({ takes }) => takes.flatMap((each) => VALUES[each] ?? []).join(' ');
const usable = commands.filter(({ name }) => name !== 'help');
const names = commands.map(({ name }) => name).join(' ');
const cases = usable
  .map((each) => `    ${each.name}) flags="$flags ${flagsOf(each.own).join(' ')}"; takes="${kindsOf(each)}" ;;`)
  .join('\n');
/** Given on the line, these decide where the values come from. */
const PASSED = '--root --config';
const TARGETS = '--target|--from|--to';

writeFileSync(
  join(out, 'dropdock.bash'),
  `# bash completion for dropdock
_dropdock() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  local flags="${flagsOf(options).join(' ')}" command="" takes="" repository="" kind="" word="" at=0 skip=""
  local -a where=()
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [[ -n "$skip" ]]; then
      [[ " ${PASSED} " == *" $skip "* ]] && where+=("$skip" "$word")
      skip=""
      continue
    fi
    case "$word" in
      --root|--config|--as|${TARGETS}) skip="$word" ;;
      -?*) ;;
      *)
        if [[ -z "$command" ]]; then command="$word"
        else
          [[ $at -eq 0 ]] && repository="$word"
          at=$((at + 1))
        fi ;;
    esac
  done
  case "$command" in
${cases}
  esac
  case "$previous" in
    --root) mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
    --config) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
    --as) return ;;
    ${TARGETS}) kind=targets ;;
    *)
      if [[ "$current" == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
        return
      elif [[ -z "$command" ]]; then
        mapfile -t COMPREPLY < <(compgen -W "${names}" -- "$current")
        return
      fi
      for word in $takes; do
        kind="$word"
        [[ $at -eq 0 ]] && break
        [[ "$kind" == tags || "$command" == copy ]] || { at=$((at - 1)); kind=""; }
      done ;;
  esac
  if [[ "$kind" == files ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  elif [[ -n "$kind" ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(dropdock "\${where[@]}" complete "$kind" $repository 2>/dev/null)" -- "$current")
  fi
}
complete -F _dropdock dropdock
`,
);
const quote = (text) => text.replace(/'/g, "'\\''").replace(/[[\]:]/g, '\\$&');
const zshOption = ({ term, what }) => {
  const [flag = ''] = term.match(/--[a-z-]+/) ?? [];
  const value = /<(\w+)>/.exec(term)?.[1];
  const how = { dir: '_files -/', file: '_files', ref: ' ' }[value] ?? '_dropdock_values targets';
  return flag === '' ? [] : [`'${flag}[${quote(what)}]${value ? `:${value}:${how}` : ''}'`];
};
const zshArguments = ({ takes }) =>
  takes.flatMap((each) => {
    const kind = VALUES[each];
    if (kind === undefined) return [];
    const many = /s$/.test(each) ? '*' : '';
    return [`'${many}:${each}:${kind === 'files' ? '_files' : `_dropdock_values ${kind}`}'`];
  });
writeFileSync(
  join(out, '_dropdock'),
  `#compdef dropdock
_dropdock_values() {
  local -a where values
  local key
  for key in ${PASSED}; do
    [[ -n "\${opt_args[$key]}" ]] && where+=("$key" "\${opt_args[$key]}")
  done
  values=("\${(@f)$(dropdock $where $dropdock_where complete \${argv[-1]} \${line[1]} 2>/dev/null)}")
  # Before the kind, _arguments passes options for compadd.
  [[ -n "\$values" ]] && compadd "\${(@)argv[1,-2]}" -a values
}
_dropdock() {
  local context state line
  local -a commands dropdock_where
  typeset -A opt_args
  commands=(
${commands.map(({ name, what }) => `    '${name}:${quote(what)}'`).join('\n')}
  )
  _arguments -C ${options.flatMap(zshOption).join(' \\\n    ')} \\
    '1:command:->command' '*::argument:->argument'
  case $state in
    command) _describe command commands ;;
    argument)
      local key
      for key in ${PASSED}; do
        [[ -n "\${opt_args[$key]}" ]] && dropdock_where+=("$key" "\${opt_args[$key]}")
      done
      case $words[1] in
${usable
  .map(
    (each) =>
      `        ${each.name}) _arguments ${[...[...options, ...each.own].flatMap(zshOption), ...zshArguments(each)].join(' ')} ;;`,
  )
  .join('\n')}
      esac ;;
  esac
}
_dropdock "$@"
`,
);
const fishQuote = (text) => `'${text.replace(/[\\']/g, '\\$&')}'`;
const fishOption = (condition) => ({ term, what }) => {
  const [flag = ''] = term.match(/--[a-z-]+/) ?? [];
  const value = /<(\w+)>/.exec(term)?.[1];
  const how =
    value === undefined
      ? ''
      : { dir: " -x -a '(__fish_complete_directories)'", file: ' -r -F', ref: ' -x' }[value] ??
        " -x -a '(__dropdock_values targets)'";
  return `complete -c dropdock ${condition}-l ${flag.slice(2)}${how} -d ${fishQuote(what)}`;
};
const inCommand = (name) => `-n '__fish_seen_subcommand_from ${name}' `;
writeFileSync(
  join(out, 'dropdock.fish'),
  `# fish completion for dropdock
function __dropdock_words
    # The command and its arguments, without options and their values.
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
        else if contains -- $word --root --config --as --target --from --to
            set skip 1
        else if not string match -q -- '-*' $word
            echo $word
        end
    end
end
function __dropdock_values
    set -l words (commandline -opc)
    set -l where
    for at in (seq (count $words))
        if contains -- $words[$at] ${PASSED}; and test $at -lt (count $words)
            set -a where $words[$at] $words[(math $at + 1)]
        end
    end
    set -l given (__dropdock_words)
    dropdock $where complete $argv[1] $given[2] 2>/dev/null
end
function __dropdock_at -a count
    test (count (__dropdock_words)) -eq $count
end
function __dropdock_after -a count
    test (count (__dropdock_words)) -ge $count
end
complete -c dropdock -f
${options.filter(({ term }) => /--/.test(term)).map(fishOption('')).join('\n')}
${commands.map(({ name, what }) => `complete -c dropdock -n '__dropdock_at 0' -a ${name} -d ${fishQuote(what)}`).join('\n')}
${usable.flatMap((each) => each.own.map(fishOption(inCommand(each.name)))).join('\n')}
${usable
  .flatMap(({ name, takes }) =>
    takes.flatMap((each, at) => {
      const kind = VALUES[each];
      if (kind === undefined) return [];
      const place = /s$/.test(each) ? `__dropdock_after ${at + 1}` : `__dropdock_at ${at + 1}`;
      const how = kind === 'files' ? '-F' : `-a '(__dropdock_values ${kind})'`;
      return `complete -c dropdock -n '__fish_seen_subcommand_from ${name}; and ${place}' ${how}`;
    }),
  )
  .join('\n')}
`,
);
