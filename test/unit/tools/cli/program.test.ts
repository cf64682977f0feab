import { spawnSync } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import type { Command } from 'commander'
import { apiMethod, apiNames } from '../../../../lib/api/system.js'
import { complete } from '../../../../tools/cli/completion.js'
import type { Names } from '../../../../tools/cli/completion.js'
import { createProgram } from '../../../../tools/cli/program.js'
import { methodsOf } from '../../../../tools/cli/verb.js'

const every = (command: Command): readonly Command[] => [command, ...command.commands.flatMap(every)]
const program = createProgram()

describe('the commands', () => {
  it('stand for every method that is not an agent\'s, and for none that there isn\'t', () => {
    const reached = new Set(every(program).flatMap(methodsOf))
    expect(apiNames.filter((name) => !['agent', 'joiner'].includes(apiMethod(name).role) && !reached.has(name))).to.deep.equal([])
  })

  it('tell in their help what the registry says of their method: its name, role and faults', () => {
    for (const command of every(program)) {
      const [first] = methodsOf(command)
      if (first === undefined) continue
      let help = ''
      command.configureOutput({ writeOut: (text) => { help += text } }).outputHelp()
      const { name, role, faults } = apiMethod(first)
      for (const part of [name, role, ...faults]) expect(help.replace(/\s+/g, ' '), name).to.contain(part)
    }
  })

  it('that disturb anything can tell first what they would do', () => {
    const disruptive = every(program).filter((command) => /^(?:delete|remove|fail|drain|evacuate|attach|detach)$/.test(command.name()))
    expect(disruptive).to.have.length(8)
    for (const command of disruptive) expect(command.options.map((option) => option.long), command.name()).to.include('--plan')
  })

  it('that list, show or judge can watch', () => {
    for (const command of every(program)) {
      if (/^(?:list|show|status)$/.test(command.name()) && !['event', 'setting', 'manager', 'lease'].includes(command.parent?.name() ?? '')) expect(command.options.map((option) => option.long), `${command.parent?.name()} ${command.name()}`).to.include('--watch')
    }
  })
})

describe('completion', () => {
  const live: Readonly<Record<string, readonly string[]>> = { volume: ['vm1', 'vm2', 'web'], host: ['st1', 'hd1'], disk: ['st1:/dev/sdb'], job: ['7f'], setting: ['repair.grace'], object: ['vm1', 'st1'] }
  const names: Names = (kind) => Promise.resolve(live[kind] ?? [])
  const at = (line: string): Promise<readonly string[]> => complete(program, line, names)

  it('knows nouns, verbs and options', async () => {
    expect(await at('vsky vo')).to.deep.equal(['volume'])
    expect(await at('vsky volume de')).to.deep.equal(['delete', 'detach'])
    expect(await at('vsky volume attach vm1 --f')).to.deep.equal(['--force-from-dead-host'])
    expect(await at('vsky __')).to.deep.equal([])
    expect(await at('vsky completion ')).to.deep.equal(['bash', 'fish', 'zsh'])
  })

  it('knows the names that there are, where one of them belongs', async () => {
    expect(await at('vsky volume show v')).to.deep.equal(['vm1', 'vm2'])
    expect(await at('vsky volume attach vm1 --host ')).to.deep.equal(['hd1', 'st1'])
    expect(await at('vsky --json --timeout 5 disk show ')).to.deep.equal(['st1:/dev/sdb'])
    expect(await at('vsky disk add ')).to.deep.equal(['hd1', 'st1'])
    expect(await at('vsky setting set rep')).to.deep.equal(['repair.grace'])
    expect(await at('vsky leg list --volume w')).to.deep.equal(['web'])
    expect(await at('vsky volume create ')).to.deep.equal([])
    expect(await at('vsky volume list --state att')).to.deep.equal(['attached', 'attaching'])
  })

  it('works in a real bash, also behind a colon, and is quick and silent without a manager', async function () {
    this.timeout(30_000)
    const dir = await mkdtemp(join(tmpdir(), 'vsky-complete-'))
    try {
      const main = fileURLToPath(new URL('../../../../tools/cli/main.js', import.meta.url))
      await writeFile(join(dir, 'real'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`)
      await writeFile(join(dir, 'vsky'), `#!/bin/sh\n[ "$2" = "vsky disk show st1:/d" ] && { echo st1:/dev/sdb; echo st1:/dev/sdc; exit; }\nexec '${join(dir, 'real')}' "$@"\n`)
      await chmod(join(dir, 'real'), 0o755)
      await chmod(join(dir, 'vsky'), 0o755)
      const bash = (line: string): string => {
        const script = 'eval "$(vsky completion bash)"; COMP_LINE=$1 COMP_POINT=${#1}; _vsky; printf "%s\\n" "${COMPREPLY[@]}"'
        const result = spawnSync('bash', ['--norc', '-c', script, 'bash', line], { encoding: 'utf8', env: { PATH: `${dir}${delimiter}${process.env.PATH ?? ''}`, VSKY_MANAGER: 'https://127.0.0.1:1', VSKY_TLS_DIR: dir } })
        expect(result.stderr).to.equal('')
        return result.stdout
      }
      expect(bash('vsky volume de')).to.equal('delete\ndetach\n')
      expect(bash('vsky disk show st1:/d')).to.equal('/dev/sdb\n/dev/sdc\n')
      expect(bash('vsky volume show ').trim()).to.equal('')
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  })
})
