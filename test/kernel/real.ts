/** The bench of a real host: its own programs and files. Only for a host of the lab: disks are overwritten, and its loopback is taken down for a while. */
import { hostname } from 'node:os'
import { systemClock } from '../../lib/host/clock.js'
import { createRun } from '../../lib/host/run.js'
import type { Log, RunRequest, RunResult } from '../../lib/ports.js'
import { prove } from './bench.js'
import type { Answer, Bench, Proof } from './bench.js'
import { claims } from './claims.js'

const quiet: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => quiet }
const BLOCK = 4096
/** A request that is held ends by another act of its claim; this is only for one that never does. */
const REQUEST_MS = 90_000

export async function proveReal({ disks, address, only }: { readonly disks: readonly [string, string]; readonly address: string; readonly only: RegExp }, tell: (proof: Proof) => void): Promise<void> {
  const run = createRun({ maxParallel: { dmsetup: 64, dd: 64 } })
  const must = async (file: string, ...args: readonly string[]): Promise<RunResult> => {
    const result = await run({ file, args, timeoutMs: 30_000 })
    if (result.exit.kind !== 'code' || result.exit.code !== 0) throw new Error(`${file} ${args.join(' ')}: ${result.stderr}`)
    return result
  }
  await must('modprobe', '-a', 'dm_mirror', 'dm_multipath', 'dm_round_robin', 'dm_era', 'dm_flakey', 'loop', 'iscsi_tcp', 'sd_mod')
  const bench: Bench = {
    run, clock: systemClock, log: quiet, disks, address, host: hostname(),
    // An error target has no cache, so that the kernel answers a flush to it by itself.
    broken: (linear) => `${linear.replace(' linear ', ' flakey ')} 0 3600`,
    async io(device, op, block, content = 0) {
      const { exit, stdout } = await run(requestOf(device, op, block, content))
      if (exit.kind !== 'code') throw new Error(`${op} of block ${block} of ${device}: ${exit.kind}`)
      return { outcome: exit.code === 0 ? 'ok' : 'error', content: op === 'read' ? contentOf(stdout) : 0 } satisfies Answer
    },
    async cut(on) {
      await must('ip', 'link', 'set', 'lo', on ? 'down' : 'up') // a host's way to itself
    },
  }
  for (const claim of claims) if (only.test(claim.name)) tell(await prove(bench, claim))
}

function requestOf(device: string, op: string, block: number, content: number): RunRequest {
  const shape = [`bs=${BLOCK}`, 'count=1', 'status=none']
  switch (op) {
    case 'read': return { file: 'dd', args: [`if=${device}`, ...shape, `skip=${block}`, 'iflag=direct'], timeoutMs: REQUEST_MS }
    case 'write': return { file: 'dd', args: [`of=${device}`, ...shape, `seek=${block}`, 'iflag=fullblock', 'oflag=direct', 'conv=notrunc'], input: content === 0 ? '\0'.repeat(BLOCK) : `${content}`.padEnd(BLOCK, '.'), timeoutMs: REQUEST_MS }
    default: return { file: 'sync', args: [device], timeoutMs: REQUEST_MS }
  }
}

/** NaN: neither zeros nor one of ours. */
function contentOf(text: string): number {
  if (/^\0*$/.test(text)) return 0
  const [, number = ''] = /^(\d+)\.+$/.exec(text) ?? []
  return number === '' ? Number.NaN : Number(number)
}
