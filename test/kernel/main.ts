/**
 * Proves every claim about the kernel, a line of JSON each: `main.js played [--seed N]` of the simulation's, `main.js real --disks A,B
 * --address IP` of the one that this host runs. `--only TEXT`: claims whose name has it.
 */
import { register } from 'node:module'
import { parseArgs } from 'node:util'
import { takeTimers } from '../sim/inside.js'
import type { Proof } from './bench.js'

const { values, positionals } = parseArgs({ allowPositionals: true, options: {
  seed: { type: 'string', default: '1' }, disks: { type: 'string', default: '' }, address: { type: 'string', default: '' }, only: { type: 'string', default: '' },
} })
const only = new RegExp(values.only)
const tell = (proof: Proof): void => {
  console.log(JSON.stringify(proof))
  if (proof.error !== '') process.exitCode = 1
}
if (positionals[0] === 'played') {
  register('../sim/hooks.js', import.meta.url, { data: { changes: [] } })
  takeTimers()
  const { provePlayed } = await import('./played.js')
  await provePlayed({ seed: Number(values.seed), only }, tell)
} else if (positionals[0] === 'real') {
  const [first = '', second = ''] = values.disks.split(',')
  const { proveReal } = await import('./real.js')
  await proveReal({ disks: [first, second], address: values.address, only }, tell)
} else {
  console.error('main.js played|real')
  process.exitCode = 2
}
