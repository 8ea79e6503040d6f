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
  const own = name === 'help' ? [] : rows(help(name), 'Options');
  return {
    name,
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
const names = commands.map(({ name }) => name).join(' ');
const cases = commands
  .filter(({ own }) => own.length > 0)
  .map(({ name, own }) => `    ${name}) flags="$flags ${flagsOf(own).join(' ')}" ;;`)
  .join('\n');
const takers = commands.filter(({ term }) => /[<[]repository/.test(term)).map(({ name }) => name);

writeFileSync(
  join(out, 'dropdock.bash'),
  `# bash completion for dropdock
_dropdock() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" command="" word
  local flags="${flagsOf(options).join(' ')}"
  COMPREPLY=()
  case "$previous" in
    --root) mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
    --config) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
  esac
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case " ${names} " in *" $word "*) command="$word"; break ;; esac
  done
  case "$command" in
${cases}
  esac
  if [[ "$current" == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
  elif [[ -z "$command" ]]; then
    mapfile -t COMPREPLY < <(compgen -W "${names}" -- "$current")
  elif [[ " ${takers.join(' ')} " == *" $command "* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(dropdock status 2>/dev/null | awk 'NR > 1 && NF == 0 { exit } NR > 1 { print $1 }')" -- "$current")
  elif [[ "$command" == publish ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -F _dropdock dropdock
`,
);
const quote = (text) => text.replace(/'/g, "'\\''").replace(/[[\]:]/g, '\\$&');
writeFileSync(
  join(out, '_dropdock'),
  `#compdef dropdock
local -a commands
commands=(
${commands.map(({ name, what }) => `  '${name}:${quote(what)}'`).join('\n')}
)
_arguments '--root[${quote('one directory for all')}]:directory:_files -/' \\
  '--config[settings file]:file:_files' '--json[print the result as JSON]' \\
  '1:command:{_describe command commands}' '*:file:_files'
`,
);
