/** What must hold whenever all is healed: hosts and volumes come back, nothing acknowledged is lost, good legs are equal. */
import type { HostView, VolumeView } from '../../lib/api/views.js'
import { messageOf } from '../../lib/faults.js'
import type { Lab } from '../lab/lab.js'
import { LabError } from '../lab/lab.js'
import { wait } from './volume.js'
import type { ThrashedVolume } from './volume.js'

const WRITES_GO_ON_MS = 30_000
const DIGEST_MS = 300_000

/** Until all hosts are heard and all volumes are up, `full` when the product can repair. Throws LabError with what is missing. */
export async function waitBack(lab: Lab, volumes: readonly ThrashedVolume[], { repair, patience }: { repair: boolean; patience: number }): Promise<void> {
  const until = performance.now() + patience * 1000
  let missing: readonly string[] = []
  do {
    try {
      missing = await notBack(lab, volumes, repair)
      if (missing.length === 0) return
    } catch (thrown) {
      missing = [messageOf(thrown)]
    }
    await wait(500)
  } while (performance.now() < until)
  throw new LabError(`${patience} s after all was healed: ${missing.join('; ')}`)
}

async function notBack(lab: Lab, volumes: readonly ThrashedVolume[], repair: boolean): Promise<readonly string[]> {
  const [hosts, status] = await Promise.all([lab.json<readonly HostView[]>(['host', 'list']), repair ? verdictOf(lab) : '' ])
  const missing = hosts.filter((host) => host.state !== 'online').map((host) => `${host.name} is ${host.state}`)
  for (const volume of volumes) {
    const view = await volume.show()
    // A move that a cruel mix interrupted: nobody but us would end it.
    if (view.state === 'detached') await lab.vsky(['volume', 'attach', volume.name, '--host', volume.head])
    if (view.state !== 'attached' || view.device === '') missing.push(`${view.name} is ${view.state} ${view.problem}`)
    else if (repair ? view.health !== 'full' : view.health === 'unavailable') missing.push(`${view.name} is ${view.health} ${view.problem}`)
    // The manager may not have noticed yet that the head was away: only the device itself tells.
    else if ((await lab.exec(view.head, ['test', '-b', view.device], { timeoutMs: 10_000 })).code !== 0) missing.push(`${view.name} is no device on ${view.head}`)
    else volume.head = view.head
  }
  return status === '' || status === 'healthy' || missing.length > 0 ? missing : [`the verdict is ${status}`]
}

/** What `vsky status` says; empty where it isn't known. */
async function verdictOf(lab: Lab): Promise<string> {
  const result = await lab.vsky(['status', '--json'])
  if (result.code !== 0 && /unknown (?:command|option)/.test(result.stderr)) return ''
  return (JSON.parse(result.stdout) as { verdict: string }).verdict
}

/** Every writer acknowledges something from now on. */
export async function waitWriting(volumes: readonly ThrashedVolume[]): Promise<void> {
  const before = volumes.map((volume) => volume.ledger.writes)
  const until = performance.now() + WRITES_GO_ON_MS
  let silent: readonly ThrashedVolume[] = volumes
  while (performance.now() < until) {
    silent = volumes.filter((volume, index) => volume.ledger.writes === before[index])
    if (silent.length === 0) return
    await wait(100)
  }
  throw new LabError(silent.map((volume) => `${volume.name} on ${volume.head}: no write was acknowledged within ${WRITES_GO_ON_MS / 1000} s after all was healed`).join('; '))
}

/** With no writer running. Gives what is wrong. */
export async function findLosses(volume: ThrashedVolume): Promise<readonly string[]> {
  const lost = await volume.verify()
  const [first] = lost
  if (!first) return []
  const found = first.found < 0 ? 'garbage' : first.found === 0 ? 'zeros' : `round ${first.found}`
  const least = first.least === 0 ? 'was never acknowledged' : `must have round ${first.least} or later`
  return [`${volume.name}: ${lost.length} blocks are not as they must be; the first: block ${first.block} ${least}, ${found} is there`]
}

/** With no writer running: the good legs of each segment hold the same bytes, as their own servers read them. */
export async function compareLegs(lab: Lab, view: VolumeView): Promise<{ readonly compared: number; readonly wrong: readonly string[] }> {
  const wrong: string[] = []
  let compared = 0
  for (const segment of view.segments) {
    const legs = segment.legs.filter((leg) => leg.state === 'insync' && leg.online)
    if (legs.length < 2) continue
    const sums = await Promise.all(legs.map((leg) => digestOf(lab, leg, segment.bytes)))
    compared += legs.length
    if (new Set(sums).size > 1) {
      wrong.push(`${view.name}: the legs of segment ${segment.index} differ: ${legs.map((leg, index) => `${leg.host} ${leg.disk}/${leg.extent} ${sums[index]?.slice(0, 12) ?? ''}`).join(', ')}`)
    }
  }
  return { compared, wrong }
}

/** Past the page cache: the target writes past it as well. */
async function digestOf(lab: Lab, leg: { readonly host: string; readonly disk: string; readonly extent: string }, bytes: bigint | string): Promise<string> {
  const script = `set -o pipefail; dd if=/dev/vsky_${leg.disk}/${leg.extent} bs=1M count=${bytes} iflag=direct,count_bytes,fullblock status=none | sha256sum`
  return (await lab.must(leg.host, ['bash', '-c', script], { timeoutMs: DIGEST_MS })).slice(0, 64)
}
