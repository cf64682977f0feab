/**
 * Device-mapper events, as they happen: a `dmsetup wait` for each watched device, asleep in the kernel until something happens to it;
 * beyond so many devices one look at all event counters, again and again. An event says only that something happened.
 */
import { messageOf } from '../../lib/faults.js'
import type { Clock, Log } from '../../lib/ports.js'
import type { Dmsetup } from './dmsetup.js'

/** Waiting processes at most: each costs some 2 MB. */
const WAITERS = 32
/** So long an event, or a question, waits for others that come with it, ms. */
const TOGETHER_MS = 20
/** Between two looks at the counters of the devices beyond, ms. */
const LOOK_MS = 100

export interface DmEvents {
  /** From now on these devices, and no others. A device that is not there is waited for. */
  watch(names: readonly string[]): void
  stop(): Promise<void>
}

export interface DmEventsOptions {
  readonly dm: Pick<Dmsetup, 'counters' | 'wait'>
  readonly clock: Clock
  readonly log: Log
  /** Told once for each device that is new, too: what happened before it was watched is seen then. */
  readonly onEvent: (names: readonly string[]) => Promise<void>
}

export function createDmEvents({ dm, clock, log, onEvent }: DmEventsOptions): DmEvents {
  const stopping = new AbortController()
  const waiting = new Map<string, { readonly stop: AbortController; readonly done: Promise<void> }>()
  let beyond: readonly string[] = []
  let looking: Promise<void> | undefined

  const told = new Set<string>()
  let telling: Promise<void> | undefined

  /** A dead server fails many mirrors at once: what comes while one look is under way is looked at together after it. */
  async function tellAll(): Promise<void> {
    while (told.size > 0) {
      const names = [...told]
      told.clear()
      await onEvent(names).catch((thrown: unknown) => { log.warn('a device-mapper event could not be looked at', { devices: names, error: messageOf(thrown) }) })
    }
    telling = undefined
  }

  const tell = (names: readonly string[]): void => {
    for (const name of names) told.add(name)
    telling ??= clock.sleep(TOGETHER_MS).then(tellAll)
  }

  /** One process for all that ask together: a volume has half a dozen devices, and they come at once. */
  let asking: Promise<ReadonlyMap<string, number>> | undefined
  const counters = (): Promise<ReadonlyMap<string, number>> => asking ??= clock.sleep(TOGETHER_MS).then(() => {
    asking = undefined // who comes from now on wants to know what is there from now on
    return dm.counters().catch(() => new Map<string, number>())
  })

  /** The counter is read before the status, so an event between two waits ends the next wait at once. */
  async function waitFor(name: string, signal: AbortSignal): Promise<void> {
    let seen: number | undefined
    while (!signal.aborted) {
      if (seen === undefined) {
        seen = (await counters()).get(name)
        if (seen === undefined) {
          await clock.sleep(1000, signal).catch(() => undefined)
          continue
        }
        tell([name])
      }
      const ended = await dm.wait(name, seen, signal)
      if (ended === 'event') {
        seen += 1 // there may have been more: then the next wait ends at once
        tell([name])
      } else if (ended === 'gone') {
        seen = undefined // the device went away, or came back under its name
        await clock.sleep(250, signal).catch(() => undefined)
      }
    }
  }

  async function lookAgainAndAgain(): Promise<void> {
    let before: ReadonlyMap<string, number> = new Map()
    while (beyond.length > 0 && !stopping.signal.aborted) {
      const now = await counters()
      const changed = beyond.filter((name) => now.has(name) && now.get(name) !== before.get(name))
      if (changed.length > 0) tell(changed)
      before = now
      await clock.sleep(LOOK_MS, stopping.signal).catch(() => undefined)
    }
    looking = undefined
  }

  return {
    watch(names) {
      const wanted = new Set(names)
      for (const [name, each] of waiting) {
        if (wanted.has(name)) continue
        each.stop.abort()
        waiting.delete(name)
      }
      const rest: string[] = []
      for (const name of wanted) {
        if (waiting.has(name)) continue
        if (waiting.size >= WAITERS) rest.push(name)
        else {
          const stop = new AbortController()
          waiting.set(name, { stop, done: waitFor(name, stop.signal) })
        }
      }
      beyond = rest
      if (rest.length > 0) looking ??= lookAgainAndAgain()
    },
    async stop() {
      stopping.abort()
      const all = [...waiting.values()]
      for (const each of all) each.stop.abort()
      await Promise.all(all.map((each) => each.done))
      await looking
      await telling
    },
  }
}
