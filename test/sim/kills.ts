/**
 * Crash anywhere, enumerated. A story is played once to count its points: each step (inside.ts) of the manager and of each agent. Then once
 * for each point, in which that process dies exactly there, is started again after a second, and the story goes on: callers repeat their
 * requests as the CLI does. The laws hold all the while; in the end all is whole, what was acknowledged is there once, and nothing is left over.
 */
import type { Process } from './inside.js'
import { Laws } from './invariants.js'
import { Violation } from './record.js'
import { converge } from './run.js'
import { Stage } from './stage.js'
import type { Story } from './stories.js'
import { World } from './world.js'

export interface Kill {
  /** `mgr`, or a host: its agent. */
  readonly process: string
  /** 1: the first. */
  readonly point: number
}

export interface Played {
  /** Process → its points, in order, each in words. */
  readonly points: ReadonlyMap<string, readonly string[]>
  readonly violation: string | undefined
  readonly lines: readonly string[]
  /** Sum over the transcript. */
  readonly hash: number
}

const MIB = 1024 * 1024
const LOOK_MS = 250
const START_AGAIN_MS = 1000
const SEED = 1

export async function play(story: Story, kill: Kill | undefined, echo: boolean): Promise<Played> {
  const world = await World.make({ seed: SEED, servers: 3, heads: 2, disksPerServer: 1, diskBytes: 1024 * MIB, extentBytes: 64 * MIB, echo })
  const laws = new Laws(world)
  const points = new Map<string, string[]>()
  let [open, died] = [false, false]
  world.network.onStep = (process, what) => {
    if (!open || died) return false
    const mine = points.get(process.name) ?? []
    points.set(process.name, mine)
    mine.push(what.replace(/\.[0-9a-f]{12}\.tmp/, '.tmp')) // of real dice: see lib/host/files.ts
    if (kill?.process !== process.name || kill.point !== mine.length) return false
    died = true
    world.transcript.say(process.name, `dies ${what}`)
    die(world, process)
    return true
  }
  const watch = (): void => {
    laws.look()
    world.timeline.after(LOOK_MS, watch)
  }
  let violation: string | undefined
  try {
    await world.begin()
    watch()
    const stage = new Stage(world)
    await world.during(() => story.before(stage))
    await world.run(3000)
    open = true
    await world.during(() => story.play(stage), 30 * 60_000)
    await stage.whole()
    open = false
    if (kill !== undefined && !died) throw new Error(`${kill.process} has no point ${kill.point} in this story`)
    await world.run(START_AGAIN_MS + 3000)
    await stage.whole()
    const wrong = stage.wrong()
    if (wrong !== undefined) world.transcript.violate('what is acknowledged is done once', wrong)
    await converge(world)
    const row = ['volumes', 'segments', 'extents'].find((table) => world.store.read(`select 1 from ${table}`).length > 0)
    if (row !== undefined) world.transcript.violate('nothing is left', `rows in ${row}`)
  } catch (thrown) {
    violation = thrown instanceof Violation ? thrown.message : `the story: ${thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown)}`
  }
  const { transcript, store } = world
  store.close()
  return { points, violation: transcript.violation?.message ?? violation, lines: transcript.lines, hash: transcript.hash }
}

/** kill -9; a service manager starts it again. */
function die(world: World, process: Process): void {
  if (process.name === 'mgr') {
    world.manager.kill(process)
    world.timeline.after(START_AGAIN_MS, () => { if (!world.manager.newest) world.manager.start() })
  } else world.host(process.name).restartAgent(START_AGAIN_MS)
  world.network.hangUp(process)
}
