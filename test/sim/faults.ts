/** What can go wrong, each in one throw of the dice, and how all of it is made good. */
import type { Dice } from '../../tools/thrash/dice.js'
import type { Host } from './host.js'
import { volumeRows } from './invariants.js'
import { loseCaches } from './caches.js'
import type { World } from './world.js'

export const mixes = ['power', 'cache', 'network', 'disk', 'agent', 'manager', 'clock', 'upgrade', 'people'] as const
export type Mix = (typeof mixes)[number]

export interface Fault {
  readonly name: string
  readonly mix: Mix
  readonly weight: number
  /** False: not possible now. */
  readonly act: (world: World, dice: Dice) => boolean
}

const later = (world: World, ms: number, act: () => void): void => { world.timeline.after(ms, act) }
const off = (hosts: readonly Host[]): readonly Host[] => hosts.filter((host) => !host.up)

function powerOff(world: World, dice: Dice, host: Host, keeps: boolean): boolean {
  if (!host.up) return false
  const lost = host.powerOff(keeps)
  loseCaches(world, host, lost)
  world.networkChanged()
  later(world, dice.chance(0.4) ? 500 + dice.next() * 3000 : 5000 + dice.next() * 60_000, () => {
    host.powerOn()
    world.networkChanged()
  })
  return true
}

/** Not more servers at once than volumes can bear to be interesting: the last ones go sometimes. */
const mayLose = (world: World, dice: Dice): boolean => off(world.servers).length === 0 || dice.chance(0.3)

export const allFaults: readonly Fault[] = [
  { name: 'a storage server loses power', mix: 'power', weight: 4, act: (world, dice) => mayLose(world, dice) && powerOff(world, dice, dice.pick(world.servers), true) },
  { name: 'a head loses power', mix: 'power', weight: 2, act: (world, dice) => powerOff(world, dice, dice.pick(world.heads), true) },
  { name: 'a storage server loses power and its disks\' caches', mix: 'cache', weight: 4, act: (world, dice) => mayLose(world, dice) && powerOff(world, dice, dice.pick(world.servers), false) },
  { name: 'all storage servers lose power', mix: 'cache', weight: 0.3, act: (world, dice) => world.servers.map((host) => powerOff(world, dice, host, dice.chance(0.3))).includes(true) },
  { name: 'a link is cut', mix: 'network', weight: 5, act: (world, dice) => {
    const [head, server] = [dice.pick(world.heads), dice.pick(world.servers)]
    const both = dice.chance(0.5)
    const [from, to] = dice.chance(0.5) ? [head.name, server.name] : [server.name, head.name]
    return cut(world, dice, 'data', from, to, both)
  } },
  { name: 'a host and the manager do not hear each other', mix: 'network', weight: 3, act: (world, dice) => {
    const host = dice.pick([...world.hosts.values()])
    const [from, to] = dice.chance(0.5) ? [host.name, 'mgr'] : ['mgr', host.name]
    return cut(world, dice, 'control', from, to, dice.chance(0.5))
  } },
  { name: 'the network is bad for a while', mix: 'network', weight: 2, act: (world, dice) => {
    Object.assign(world.network.weather, { brokenBefore: dice.next() * 0.1, brokenAfter: dice.next() * 0.1, doubled: dice.next() * 0.2, slow: dice.next() * 0.3, slowMs: dice.next() * 2000 })
    later(world, 5000 + dice.next() * 20_000, () => { calm(world) })
    return true
  } },
  { name: 'a disk fails for a while', mix: 'disk', weight: 2, act: (world, dice) => disk(world, dice, (faults) => { faults.dead = true }) },
  { name: 'a disk takes no writes for a while', mix: 'disk', weight: 2, act: (world, dice) => disk(world, dice, (faults) => { faults.readOnly = true }) },
  { name: 'a disk hangs for a while', mix: 'disk', weight: 2, act: (world, dice) => disk(world, dice, (faults) => { faults.hung = true }) },
  { name: 'a disk is slow for a while', mix: 'disk', weight: 2, act: (world, dice) => disk(world, dice, (faults) => { faults.slowMs = 20 + dice.next() * 800 }) },
  { name: 'places of a disk can\'t be read', mix: 'disk', weight: 2, act: (world, dice) => {
    const victim = dice.pick(dice.pick(world.servers).disks)
    const used = [...victim.used(0, victim.slots)].filter((slot) => typeof victim.at(slot) === 'number')
    if (used.length === 0) return false
    for (let count = dice.between(1, 3); count > 0; count -= 1) victim.bad.add(dice.pick(used))
    return true
  } },
  { name: 'an agent is killed', mix: 'agent', weight: 4, act: (world, dice) => {
    const host = dice.pick([...world.hosts.values()])
    if (!host.agent) return false
    host.restartAgent(dice.chance(0.7) ? 200 + dice.next() * 2000 : 5000 + dice.next() * 20_000)
    return true
  } },
  { name: 'the manager is killed', mix: 'manager', weight: 2, act: (world, dice) => {
    if (!world.manager.newest) return false
    world.manager.kill()
    later(world, dice.chance(0.7) ? dice.next() * 2000 : 5000 + dice.next() * 20_000, () => { if (!world.manager.newest) world.manager.start() })
    return true
  } },
  { name: 'a second manager takes over, and the first goes on', mix: 'manager', weight: 1, act: (world) => {
    if (!world.manager.newest || world.manager.running.size > 1) return false
    world.manager.start()
    Object.assign(world.network.weather, { slow: 0.5, slowMs: 4000 }) // what the first has sent arrives late
    later(world, 6000, () => { calm(world) })
    return true
  } },
  { name: 'a clock runs wrong', mix: 'clock', weight: 2, act: (world, dice) => {
    const clock = dice.chance(0.3) ? world.manager.clock : dice.pick([...world.hosts.values()]).clock
    clock.setRate(0.9 + dice.next() * 0.2)
    if (dice.chance(0.5)) clock.offsetMs += (dice.next() - 0.5) * 7_200_000
    return true
  } },
  { name: 'an agent of the other release is started', mix: 'upgrade', weight: 4, act: (world, dice) => {
    const host = dice.pick([...world.hosts.values()])
    if (!host.agent) return false
    host.restartAgent(200 + dice.next() * 2000)
    change(world, host.name)
    return true
  } },
  { name: 'a manager of the other release is started', mix: 'upgrade', weight: 1, act: (world, dice) => {
    if (!world.manager.newest || world.manager.running.size > 1) return false
    world.manager.kill()
    change(world, 'mgr')
    later(world, dice.next() * 2000, () => { if (!world.manager.newest) world.manager.start() })
    return true
  } },
]

/** From this release to the previous one, or back. */
function change(world: World, host: string): void {
  const { previous } = world.network
  if (!previous.delete(host)) previous.add(host)
  world.transcript.say(host, previous.has(host) ? 'is of the previous release' : 'is of this release')
}

/** Before the first start: a cluster in the middle of an upgrade. */
export function mixReleases(world: World, dice: Dice): void {
  for (const host of ['mgr', ...world.hosts.keys()]) if (dice.chance(0.5)) change(world, host)
}

function cut(world: World, dice: Dice, plane: 'control' | 'data', from: string, to: string, both: boolean): boolean {
  world.network.cut(plane, from, to)
  if (both) world.network.cut(plane, to, from)
  world.networkChanged()
  later(world, dice.chance(0.5) ? dice.next() * 3000 : 5000 + dice.next() * 30_000, () => {
    world.network.mend(plane, from, to)
    world.network.mend(plane, to, from)
    world.networkChanged()
  })
  return true
}

function disk(world: World, dice: Dice, act: (faults: World['servers'][number]['disks'][number]['faults']) => void): boolean {
  const victim = dice.pick(dice.pick(world.servers).disks)
  act(victim.faults)
  later(world, 2000 + dice.next() * 30_000, () => { well(victim) })
  return true
}

function well(victim: World['servers'][number]['disks'][number]): void {
  Object.assign(victim.faults, { dead: false, readOnly: false, hung: false, slowMs: 0 })
  victim.wake()
}

function calm(world: World): void {
  Object.assign(world.network.weather, { brokenBefore: 0, brokenAfter: 0, doubled: 0, slow: 0, slowMs: 0 })
}

/** Everything has power, every link passes, every disk works, a manager runs. */
export function heal(world: World): void {
  world.transcript.say('world', 'heals')
  calm(world)
  world.network.mendAll()
  for (const host of world.hosts.values()) {
    for (const each of host.disks) {
      well(each)
      each.bad.clear()
    }
    host.clock.setRate(1)
    if (host.up && !host.agent) host.startAgent()
    host.powerOn()
  }
  if (!world.manager.newest) world.manager.start()
  world.networkChanged()
}

/** The volumes that are somewhere, with the guests that they should have. */
export function attachedVolumes(world: World): readonly string[] {
  return volumeRows(world).filter((volume) => volume.phase === 'attached').map((volume) => volume.name)
}
