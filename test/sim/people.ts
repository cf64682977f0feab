/** What people and hypervisors ask for while things break. A refusal is an answer; what must not be is said by the laws. */
import { Fault } from '../../lib/faults.js'
import type { Dice } from '../../tools/thrash/dice.js'
import { volumeRows } from './invariants.js'
import type { Volume, World } from './world.js'

const MIB = 1024 * 1024

export const busy = new WeakSet<Volume>()

/** One wish, begun; it ends beside time. */
export function wish(world: World, dice: Dice): void {
  const free = [...world.volumes.values()].filter((volume) => !busy.has(volume))
  const volume = free.length === 0 ? undefined : dice.pick(free)
  const phase = volumeRows(world).find((row) => row.id === volume?.id)?.phase
  const throws = dice.next()
  if (volume === undefined || throws < 0.1) {
    if (world.volumes.size < 3 * world.heads.length + 4) start(world, undefined, 'create', async () => { await world.createVolume(anySize(dice)) })
    return
  }
  const head = dice.pick(world.heads)
  if (phase === 'detached') {
    if (throws < 0.75) start(world, volume, `attach ${volume.name} to ${head.name}`, () => world.attach(volume, head))
    else start(world, volume, `delete ${volume.name}`, () => remove(world, volume))
  } else if (phase === 'attached') {
    if (throws < 0.6) start(world, volume, `detach ${volume.name}`, () => detach(world, volume))
    else start(world, volume, `attach ${volume.name} to ${head.name} from its dead host`, () => world.attach(volume, head, { fromDeadHost: true }))
  }
}

export function anySize(dice: Dice): { readonly bytes: number; readonly redundancy: number } {
  return { bytes: dice.between(1, 40) * 4 * MIB - dice.between(0, 3) * 4096, redundancy: dice.pick([1, 2, 2, 2, 3, 3]) }
}

function start(world: World, volume: Volume | undefined, what: string, work: () => Promise<void>): void {
  world.transcript.say('people', what)
  if (volume) busy.add(volume)
  world.start(async () => {
    try {
      await work()
      world.transcript.say('people', `${what}: done`)
    } catch (thrown) {
      if (!(thrown instanceof Fault)) throw thrown
      world.transcript.say('people', `${what}: ${thrown.fault}: ${thrown.message}`)
    } finally {
      if (volume) busy.delete(volume)
    }
  })
}

export async function remove(world: World, volume: Volume): Promise<void> {
  await world.admin.ask('volumeDelete', { volume: volume.name }).catch((thrown: unknown) => {
    if (!(thrown instanceof Fault) || thrown.fault !== 'unknown volume') throw thrown // somebody who was no longer listening had it deleted
  })
  world.volumes.delete(volume.name)
}

/** The guest is shut down first. If it has not ended its I/O by then, it goes on. */
export async function detach(world: World, volume: Volume): Promise<void> {
  const { guest } = volume
  guest?.stop()
  for (let waited = 0; guest && !guest.idle && waited < 20_000; waited += 200) await world.timeline.sleep(200)
  if (guest && !guest.idle) {
    guest.goOn()
    return
  }
  try {
    await world.admin.ask('volumeDetach', { volume: volume.name })
    if (volume.guest === guest) volume.guest = undefined
  } catch (thrown) {
    const row = volumeRows(world).find((each) => each.id === volume.id)
    if (row?.phase === 'attached' && volume.guest === guest && guest) world.startGuest(volume, guest.options.host)
    throw thrown
  }
}
