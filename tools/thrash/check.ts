/** What must hold whenever all is healed: hosts and volumes come back, nothing acknowledged is lost, good legs are equal. */
import type { VolumeView } from '../../lib/api/views.js'
import { messageOf } from '../../lib/faults.js'
import { ask } from '../lab/ask.js'
import type { Lab } from '../lab/lab.js'
import { LabError } from '../lab/lab.js'
import { wait } from './volume.js'
import type { ThrashedVolume } from './volume.js'

const WRITES_GO_ON_MS = 30_000
const LOOK_MS = 150
const TELL_MS = 10_000
const DIGEST_MS = 300_000

export interface Back {
  /** Whether the product can repair: then all has to become full. */
  readonly repair: boolean
  /** Seconds. */
  readonly patience: number
  /** Hears for what it is waiting when that takes long. */
  readonly told: (text: string) => void
}

/**
 * Until all hosts are heard, all volumes are up (`full` when the product can repair), and no request of a writer waits. A volume whose
 * writer ended with its head is written again as soon as it is up, while copies go on. Throws LabError with what is missing; a request
 * that goes on waiting while everything is told to be well is not borne for long.
 */
export async function waitBack(lab: Lab, volumes: readonly ThrashedVolume[], { repair, patience, told }: Back): Promise<void> {
  let tellAt = performance.now() + TELL_MS
  const until = performance.now() + patience * 1000
  let wellSince: number | undefined
  let missing: readonly string[] = []
  do {
    let stuck: readonly string[] = []
    try {
      await Promise.all(volumes.filter((volume) => !volume.isWriting).map((volume) => writeAgain(lab, volume)))
      missing = await notBack(lab, volumes, repair)
      if (missing.length === 0) stuck = volumes.filter((volume) => volume.waitsMs > 0).map(tellWaiting)
      if (missing.length === 0 && stuck.length === 0) return
    } catch (thrown) {
      missing = [messageOf(thrown)]
    }
    if (performance.now() > tellAt) {
      tellAt += TELL_MS
      told(`waiting: ${[...missing, ...stuck].join('; ')}`)
    }
    wellSince = missing.length === 0 ? wellSince ?? performance.now() : undefined
    if (wellSince !== undefined && performance.now() - wellSince > WRITES_GO_ON_MS) {
      throw new LabError(`all is told to be well for ${WRITES_GO_ON_MS / 1000} s, and yet ${stuck.join('; ')}`)
    }
    await wait(LOOK_MS)
  } while (performance.now() < until)
  throw new LabError(`${patience} s after all was healed: ${[...missing, ...volumes.filter((volume) => volume.waitsMs > 0).map(tellWaiting)].join('; ')}`)
}

function tellWaiting(volume: ThrashedVolume): string {
  return `${volume.name} on ${volume.head}: a request waits since ${(volume.waitsMs / 1000).toFixed(1)} s`
}

async function writeAgain(lab: Lab, volume: ThrashedVolume): Promise<void> {
  const view = await volume.show()
  if ((await notUp(lab, view, volume.head, false)).length > 0) return
  volume.head = view.head
  await volume.start()
}

async function notBack(lab: Lab, volumes: readonly ThrashedVolume[], repair: boolean): Promise<readonly string[]> {
  const [hosts, verdict, views] = await Promise.all([ask(lab, 'hostList', {}), repair ? ask(lab, 'status', {}) : undefined, Promise.all(volumes.map((volume) => volume.show()))])
  const missing = hosts.filter((host) => host.state !== 'online').map((host) => `${host.name} is ${host.state}`)
  const there = await Promise.all(views.map((view, index) => notUp(lab, view, volumes[index]?.head ?? '', repair)))
  missing.push(...there.flat(), ...volumes.filter((volume) => !volume.isWriting).map((volume) => `${volume.name} is not written yet`))
  if (missing.length > 0) return missing
  for (const [index, volume] of volumes.entries()) volume.head = views[index]?.head ?? volume.head
  if (verdict === undefined || verdict.verdict === 'healthy') return []
  // Read errors of before a disk was repaired are counted when the copies on top of it have ended: that too is over with the repair.
  const worn = (await ask(lab, 'diskList', {})).filter((disk) => disk.readErrors > 0)
  for (const { host, device } of worn) await lab.vsky(['disk', 'use', `${host}:${device}`])
  return [`the verdict is ${verdict.verdict}: ${verdict.reasons.join(', ')}`]
}

async function notUp(lab: Lab, view: VolumeView, head: string, repair: boolean): Promise<readonly string[]> {
  // A move that a cruel mix interrupted: nobody but us would end it.
  if (view.state === 'detached') await lab.vsky(['volume', 'attach', view.name, '--host', head])
  if (view.state !== 'attached' || view.device === '') return [`${view.name} is ${view.state} ${view.problem}`]
  if (repair ? view.health !== 'full' : view.health === 'unavailable') return [`${view.name} is ${view.health} ${view.problem}`]
  // The manager may not have noticed yet that the head was away: only the device itself tells.
  return (await lab.exec(view.head, ['test', '-b', view.device], { timeoutMs: 10_000 })).code === 0 ? [] : [`${view.name} is no device on ${view.head}`]
}

/** Every writer acknowledges something from now on. */
export async function waitWriting(volumes: readonly ThrashedVolume[]): Promise<void> {
  const before = volumes.map((volume) => volume.ledger.writes)
  const from = performance.now()
  let silent: readonly ThrashedVolume[] = volumes
  while (performance.now() - from < WRITES_GO_ON_MS) {
    silent = volumes.filter((volume, index) => volume.ledger.writes === before[index])
    if (silent.length === 0) return
    await wait(20)
  }
  throw new LabError(silent.map((volume) => `${volume.name} on ${volume.head}: no write was acknowledged within ${WRITES_GO_ON_MS / 1000} s after all was healed${volume.waitsMs > 0 ? `, one waits since ${(volume.waitsMs / 1000).toFixed(1)} s` : ''}`).join('; '))
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
export async function compareLegs(lab: Lab, views: readonly VolumeView[]): Promise<{ readonly compared: number; readonly wrong: readonly string[] }> {
  const segments = views.flatMap((view) => view.segments.map((segment) => ({ name: view.name, index: segment.index, bytes: segment.bytes, legs: segment.legs.filter((leg) => leg.state === 'insync' && leg.online) })))
    .filter(({ legs }) => legs.length > 1)
  const legs = segments.flatMap((segment) => segment.legs.map((leg) => ({ ...leg, bytes: segment.bytes })))
  const sums = new Map((await Promise.all([...new Set(legs.map((leg) => leg.host))].map((host) => digestsOn(lab, host, legs.filter((leg) => leg.host === host))))).flat())
  const wrong = segments.filter((segment) => new Set(segment.legs.map((leg) => sums.get(leg.extent))).size > 1)
    .map((segment) => `${segment.name}: the legs of segment ${segment.index} differ: ${segment.legs.map((leg) => `${leg.host} ${leg.disk}/${leg.extent} ${sums.get(leg.extent)?.slice(0, 12) ?? ''}`).join(', ')}`)
  return { compared: legs.length, wrong }
}

/**
 * Extent → digest, of all legs on one server with one program: starting one takes a guest longer than reading a leg. Past the page cache:
 * the target writes past it as well.
 */
async function digestsOn(lab: Lab, host: string, legs: readonly { readonly disk: string; readonly extent: string; readonly bytes: bigint }[]): Promise<readonly (readonly [extent: string, sum: string])[]> {
  const read = legs.map((leg) => `dd if=/dev/vsky_${leg.disk}/${leg.extent} bs=1M count=${leg.bytes} iflag=direct,count_bytes,fullblock status=none | md5sum`)
  const sums = (await lab.must(host, ['bash', '-c', ['set -e -o pipefail', ...read].join('\n')], { timeoutMs: DIGEST_MS })).trim().split('\n')
  if (sums.length !== legs.length) throw new LabError(`${host}: ${sums.length} of ${legs.length} legs were read`)
  return legs.map((leg, index) => [leg.extent, sums[index]?.slice(0, 32) ?? ''])
}
