/** One seed, in two acts: things break, and the laws hold at every look; then all is healed, and everything must come right in time. */
import { Fault } from '../../lib/faults.js'
import { createDice } from '../../tools/thrash/dice.js'
import { allFaults, heal, mixReleases } from './faults.js'
import type { Mix } from './faults.js'
import { Laws, leftovers, legsDiffer, notYetWhole, volumeRows } from './invariants.js'
import { anySize, busy, detach, remove, wish } from './people.js'
import { Violation } from './record.js'
import { World } from './world.js'

export interface RunOptions {
  readonly seed: number
  readonly servers: number
  readonly heads: number
  readonly volumes: number
  /** Seconds of breaking. */
  readonly ticks: number
  readonly faults: readonly Mix[]
  readonly echo: boolean
}

export interface RunResult {
  readonly seed: number
  readonly violation: string | undefined
  readonly virtualMs: number
  readonly events: number
  readonly acked: number
  readonly lines: readonly string[]
  readonly hash: string
  readonly faults: number
}

const LOOK_MS = 250
/** A silent server's grace time, and the copies after it. */
const HEAL_MS = 20 * 60_000
const CLEAN_MS = 5 * 60_000
const MIB = 1024 * 1024

export async function runSeed(options: RunOptions): Promise<RunResult> {
  const { seed, servers, heads } = options
  const world = await World.make({ seed, servers, heads, disksPerServer: 2, diskBytes: Math.max(1024, Math.ceil(options.volumes / servers) * 400) * MIB, extentBytes: 64 * MIB, echo: options.echo })
  const laws = new Laws(world)
  let violation: string | undefined
  let faults = 0
  try {
    faults = await acts(world, laws, options)
  } catch (thrown) {
    violation = thrown instanceof Violation ? thrown.message : `the world: ${thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown)}`
  }
  const { transcript, timeline } = world
  if (violation !== undefined) {
    for (const host of world.heads) for (const device of host.boot?.dm.devices.values() ?? []) transcript.say(host.name, `${device.name} ${device.devno}: ${device.state}: ${device.live?.map(({ target }) => target.status()).join('; ') ?? 'no table'}`)
  }
  world.store.close()
  return { seed, violation: transcript.violation?.message ?? violation, virtualMs: timeline.now, events: timeline.events, acked: laws.acked, lines: transcript.lines, hash: (transcript.hash >>> 0).toString(16), faults }
}

async function acts(world: World, laws: Laws, { seed, volumes, ticks, faults }: RunOptions): Promise<number> {
  const dice = createDice(seed, 6)
  const watch = (): void => {
    laws.look()
    world.timeline.after(LOOK_MS, watch)
  }
  if (faults.includes('upgrade')) mixReleases(world, createDice(seed, 12))
  await world.begin()
  watch()
  const { heads } = world
  await world.during(() => Promise.all(Array.from({ length: volumes }, async () => {
    const volume = await world.createVolume(anySize(dice))
    if (dice.chance(0.8)) await world.attach(volume, dice.pick(heads))
  })))
  await world.run(5000)
  const chosen = allFaults.filter(({ mix }) => faults.includes(mix))
  const total = chosen.reduce((sum, { weight }) => sum + weight, 0)
  let count = 0
  const often = 0.05 + dice.next() * 0.3
  for (let tick = 0; tick < ticks; tick += 1) {
    await world.run(1000)
    if (faults.includes('people') && dice.chance(0.15)) wish(world, dice)
    if (total === 0 || !dice.chance(often)) continue
    let at = dice.next() * total
    const fault = chosen.find(({ weight }) => (at -= weight) <= 0)
    if (!fault?.act(world, dice)) continue
    world.transcript.say('world', fault.name)
    count += 1
  }
  heal(world)
  await converge(world)
  return count
}

export async function converge(world: World): Promise<void> {
  await until(world, HEAL_MS, 'all volumes are whole again', () => {
    for (const volume of world.volumes.values()) {
      if (busy.has(volume)) return `${volume.name} is in somebody's hands`
      const row = volumeRows(world).find((each) => each.id === volume.id)
      // Shut down for a detach that was refused when nobody waited for its answer any more, it is started again.
      const gone = volume.guest === undefined || (volume.guest.stopped && volume.guest.idle)
      if (row?.phase === 'attached' && (gone || volume.guest?.options.host.name !== row.head)) world.startGuest(volume, world.host(row.head))
      else if (volume.guest?.stopped === true && row?.phase === 'attached') volume.guest.goOn()
    }
    return notYetWhole(world)
  })
  world.transcript.say('world', 'all volumes are whole')
  await world.run(3000)
  for (const guest of world.oldGuests) guest.stop()
  await world.during(async () => {
    for (let attempt = 1; attempt <= 15; attempt += 1) {
      for (const volume of world.volumes.values()) if (volumeRows(world).find((row) => row.id === volume.id)?.phase === 'attached') await detach(world, volume).catch((thrown: unknown) => notHeardYet(world, thrown))
    }
  }, HEAL_MS)
  await until(world, HEAL_MS, 'all volumes are detached and whole', () => notYetWhole(world) ?? volumeRows(world).filter((row) => row.phase !== 'detached').map((row) => `${row.name} is ${row.phase}`)[0])
  const differ = legsDiffer(world)
  if (differ !== undefined) world.transcript.violate('I8 legs are equal', differ)
  // What an old head still had open goes only as long as the manager knows the volume.
  await until(world, CLEAN_MS, 'nobody has anything of a detached volume up', () => leftovers(world).find((what) => what.includes('device vsky-')))
  await world.during(async () => { for (const volume of [...world.volumes.values()]) await remove(world, volume) })
  // Volumes that were made for a caller who had given up.
  await world.during(async () => { for (const row of volumeRows(world)) await world.admin.ask('volumeDelete', { volume: row.name }) })
  await until(world, CLEAN_MS, 'nothing is left', () => leftovers(world)[0])
}

/** A call that was under way when its link was cut is waited for: until then its host may count as silent, also the server of an only leg. */
function notHeardYet(world: World, thrown: unknown): Promise<void> {
  if (!(thrown instanceof Fault) || (thrown.fault !== 'host offline' && thrown.fault !== 'data unavailable')) throw thrown
  return world.timeline.sleep(3000)
}

export async function until(world: World, ms: number, what: string, why: () => string | undefined): Promise<void> {
  const end = world.timeline.now + ms
  let reason = why()
  while (reason !== undefined && world.timeline.now < end) {
    await world.run(1000)
    reason = why()
  }
  if (reason !== undefined) {
    for (const volume of world.volumes.values()) {
      const said = await world.during(() => world.admin.ask('explain', { object: volume.name })).catch((thrown: unknown) => String(thrown))
      world.transcript.say(volume.name, JSON.stringify(said, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)))
    }
  }
  if (reason !== undefined) world.transcript.violate('it converges', `not within ${ms / 1000} s: ${what}: ${reason}`)
  if (world.transcript.violation) throw world.transcript.violation
}
