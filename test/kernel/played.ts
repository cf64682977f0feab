/** The bench of the simulation: each claim in a world of its own, with one host. */
import { createDice } from '../../tools/thrash/dice.js'
import { Timeline, processClock } from '../sim/clock.js'
import { Disk } from '../sim/disk.js'
import { Host, dataAddress } from '../sim/host.js'
import { answer, enter, leave } from '../sim/inside.js'
import type { Process } from '../sim/inside.js'
import { Network } from '../sim/network.js'
import { Transcript } from '../sim/record.js'
import { prove } from './bench.js'
import type { Bench, Claim, Proof } from './bench.js'
import { claims } from './claims.js'

const BYTES = 128 * 1024 * 1024
const NAME = 'st1'
/** Of played time: for one claim. */
const LIMIT_MS = 600_000

export async function provePlayed({ seed, only }: { readonly seed: number; readonly only: RegExp }, tell: (proof: Proof) => void): Promise<void> {
  for (const claim of claims) if (only.test(claim.name)) tell(await play(claim, seed))
}

async function play(claim: Claim, seed: number): Promise<Proof> {
  const timeline = new Timeline()
  const transcript = new Transcript(timeline, false)
  const network = new Network(timeline, createDice(seed, 2), () => true, (where, thrown) => { transcript.violate('no program error', `${where}: ${String(thrown)}`) })
  let connected = true
  const disks = ['vdb', 'vdc'].map((kernel, at) => new Disk(timeline, createDice(seed, 3, at), { kernel, devno: `252:${16 * (at + 1)}`, bytes: BYTES }))
  const host: Host = new Host({
    name: NAME, roles: ['storage', 'head'], zone: '', address: `${NAME}:8882`, seed, number: 1, network, transcript, disks,
    data: { server: (target) => (target.endsWith(`.${NAME}`) ? { name: NAME, lio: host.boot?.lio } : undefined), passes: () => connected, delayMs: () => network.delayMs() },
  })
  host.powerOn()
  const { boot } = host
  if (!boot) throw new Error('the host did not start')
  const process: Process = {
    name: NAME, alive: true, timeline, files: host.files, run: (request) => answer(process, leave(() => boot.programs.run(request))),
    call: () => Promise.reject(new Error('nobody is there to be called')), onStep: () => false, usedIn: () => true, blank: () => Promise.resolve(false), listens: () => Promise.resolve(true),
  }
  host.agent = process // in its place: nobody else is at work on this host
  const bench: Bench = {
    run: process.run.bind(process), clock: processClock(timeline, host.clock, () => true), log: transcript.log(NAME), disks: ['/dev/vdb', '/dev/vdc'], host: NAME, address: dataAddress(1),
    broken: (linear) => `${linear.split(' ').slice(0, 2).join(' ')} error`,
    io: (path, op, slot, content = 0) => new Promise((resolve) => {
      const device = boot.kernel.find(path)
      if (!device) {
        resolve({ outcome: 'error', content: 0 })
        return
      }
      device.opens += 1
      device.submit({ op, slot: op === 'flush' ? 0 : slot, count: op === 'flush' ? 0 : 1, data: new Map([[0, content]]), done(outcome, data) {
        device.opens -= 1
        timeline.touch()
        resolve({ outcome: outcome === 'ok' ? 'ok' : 'error', content: Number(data.get(0) ?? 0) })
      } })
    }),
    cut(on) {
      connected = !on
      boot.initiator.look()
      return Promise.resolve()
    },
  }
  let proof: Proof | undefined
  enter(process, () => {
    void prove(bench, claim).then((found) => {
      proof = found
      timeline.touch()
    })
  })
  await timeline.run(LIMIT_MS, () => proof !== undefined)
  return proof ?? { name: claim.name, error: `not proved within ${LIMIT_MS / 1000} s of played time: something waits for ever`, ms: LIMIT_MS }
}
