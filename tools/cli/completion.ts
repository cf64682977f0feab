/**
 * Completion for bash, zsh and fish. The shell hands over the line up to the cursor; what may follow is read from the commands themselves, and names
 * (volumes, hosts, disks, jobs, settings) from the manager, unless that takes longer than a person would wait.
 */
import type { Argument, Command, Option } from 'commander'
import { Option as HiddenOption } from 'commander'
import type { Context } from './context.js'
import type { Manager } from './connect.js'

/** For the names, ms; the start of the command comes on top. */
const NAMES_MS = 300

const scripts = {
  bash: `# eval "$(vsky completion bash)", or write it to /etc/bash_completion.d/vsky
_vsky() {
  local line="\${COMP_LINE:0:COMP_POINT}"
  local word="\${line##* }"
  mapfile -t COMPREPLY < <(vsky __complete "$line" 2>/dev/null)
  # bash takes ':' for the end of a word: what stands before it is there already
  if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then COMPREPLY=("\${COMPREPLY[@]#"\${word%"\${word##*:}"}"}"); fi
}
complete -F _vsky vsky
`,
  zsh: `#compdef vsky
# source <(vsky completion zsh), or write it to a folder of $fpath as _vsky
_vsky() {
  local -a found
  found=("\${(@f)$(vsky __complete "\${(j: :)words[1,CURRENT-1]} \${PREFIX}" 2>/dev/null)}")
  found=("\${(@)found:#}")
  compadd -Q -- "\${found[@]}"
}
compdef _vsky vsky
`,
  fish: `# vsky completion fish | source, or write it to ~/.config/fish/completions/vsky.fish
complete -c vsky -f -a '(vsky __complete (commandline -cp) 2>/dev/null)'
`,
} as const
type Shell = keyof typeof scripts
const shells = Object.keys(scripts) as readonly Shell[]

export type NameKind = 'volume' | 'host' | 'disk' | 'job' | 'object' | 'setting' | 'token' | 'user'
/** Live names of a kind. */
export type Names = (kind: NameKind) => Promise<readonly string[]>

export function completionCommands(program: Command, context: () => Context): void {
  program.command('completion').description('Prints the script by which a shell completes this command').argument('<shell>', shells.join(', ')).action((shell: string) => {
    const known = shells.find((each) => each === shell)
    if (known === undefined) program.error(`error: there is no completion for ${JSON.stringify(shell)}; there is one for ${shells.join(', ')}`)
    else process.stdout.write(scripts[known])
  })
  program.command('__complete', { hidden: true }).argument('[line]', 'up to the cursor', '').addOption(new HiddenOption('--names-ms <n>').hideHelp()).action(async (line: string, { namesMs }: { namesMs?: string }) => {
    const names: Names = (kind) => Promise.race([
      context().withManager((manager) => namesOf(manager, kind)).catch(() => []),
      new Promise<readonly string[]>((resolve) => { setTimeout(() => { resolve([]) }, Number(namesMs ?? NAMES_MS)) }),
    ]).catch(() => [])
    const found = await complete(program, line, names)
    process.stdout.write(found.map((each) => `${each}\n`).join(''), () => process.exit(0)) // a call that is late keeps nobody waiting
  })
}

async function namesOf(manager: Manager, kind: NameKind): Promise<readonly string[]> {
  const ask = {
    volume: async () => (await manager.call('volumeList', {})).map((each) => each.name),
    host: async () => (await manager.call('hostList', {})).map((each) => each.name),
    disk: async () => (await manager.call('diskList', {})).map((each) => `${each.host}:${each.device}`),
    job: async () => (await manager.call('jobList', { ended: 0 })).map((each) => each.id),
    setting: async () => (await manager.call('settingList', {})).map((each) => each.name),
    token: async () => (await manager.call('tokenList', {})).map((each) => each.name),
    user: async () => (await manager.call('userList', {})).map((each) => each.name),
    object: async () => (await Promise.all([ask.volume(), ask.host(), ask.disk(), ask.job()])).flat(),
  }
  return ask[kind]()
}

const kinds: Readonly<Record<string, NameKind>> = { volume: 'volume', host: 'host', disk: 'disk', job: 'job', object: 'object', setting: 'setting', token: 'token', user: 'user' }

/** What may stand where the cursor is: whole words that begin like the one that was begun. The first word of `line` is the command's own name. */
export async function complete(program: Command, line: string, names: Names): Promise<readonly string[]> {
  const words = line.split(/[ \t]+/).slice(1)
  const current = words.pop() ?? ''
  let command = program
  let pending: Option | undefined
  let positions = 0
  for (const word of words.filter((each) => each !== '')) {
    if (pending) pending = undefined
    else if (word.startsWith('-')) pending = word.includes('=') ? undefined : takesValue(optionsOf(command, program).find((option) => option.long === word || option.short === word))
    else {
      const next = positions === 0 ? command.commands.find((each) => each.name() === word) : undefined
      if (next) command = next
      else positions += 1
    }
  }
  const found = pending ? await valuesOf(pending, names)
    : current.startsWith('-') ? optionsOf(command, program).filter((option) => !option.hidden).map((option) => option.long ?? option.short ?? '')
    : command.commands.length > 0 ? visible(command)
    : await valuesOf(command.registeredArguments[Math.min(positions, command.registeredArguments.length - 1)], names)
  return [...new Set(found)].filter((each) => each.startsWith(current) && each !== '').sort()
}

function visible(command: Command): readonly string[] {
  return command.createHelp().visibleCommands(command).map((each) => each.name()).filter((name) => name !== 'help')
}

function optionsOf(command: Command, program: Command): readonly Option[] {
  return command === program ? command.options : [...command.options, ...program.options]
}

function takesValue(option: Option | undefined): Option | undefined {
  return option?.required === true ? option : undefined
}

/** Words that help names itself (`only a or b`) stand in no table: an argument's kind is its name. */
async function valuesOf(asked: Option | Argument | undefined, names: Names): Promise<readonly string[]> {
  if (asked === undefined) return []
  const name = 'flags' in asked ? /<([a-z]+)>/.exec(asked.flags)?.[1] ?? '' : asked.name()
  if (name === 'shell') return shells
  const choices = /^only ([a-z ]+)$/.exec(asked.description)?.[1]
  if (choices !== undefined && choices.includes(' or ')) return choices.split(' or ')
  const kind = kinds[name]
  return kind === undefined ? [] : names(kind)
}
