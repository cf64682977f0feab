/** Volumes that are made, attached, detached and deleted by the command, one after the other, whatever becomes of the managers; and the proofs. */
import type { EventView } from '../../lib/api/views.js'
import { ask } from '../lab/ask.js'
import type { Lab } from '../lab/lab.js'
import { hasAgent } from '../lab/plan.js'

interface Spoken {
  readonly error: string
  readonly message: string
}

const steps = ['created', 'attached', 'detached', 'deleted'] as const
type Step = (typeof steps)[number]
/** What the command says when an earlier try, whose outcome it never heard, had done it. */
const doneBefore: Readonly<Record<Step, readonly string[]>> = { created: ['name taken'], attached: ['volume in use', 'volume attached'], detached: ['volume not attached'], deleted: ['unknown volume'] }
/** A step that does not succeed for so long is a violation, ms. */
const STEP_MS = 180_000

export class Lives {
  readonly names: string[] = []
  /** Calls that were answered with a fault, and given again. */
  readonly refusals: string[] = []
  readonly #lab: Lab
  readonly #head: string
  readonly #loop: Promise<void>
  #over = false

  constructor(lab: Lab, head: string) {
    this.#lab = lab
    this.#head = head
    this.#loop = this.#live()
    this.#loop.catch(() => undefined) // `stop` tells
  }

  async #live(): Promise<void> {
    for (let number = 1; !this.#over; number += 1) {
      const name = `w${number}`
      for (const step of steps) await this.#insist(step, name)
      this.names.push(name)
    }
  }

  async #insist(step: Step, name: string): Promise<void> {
    const until = performance.now() + STEP_MS
    for (let tries = 0; ; tries += 1) {
      const { code, stderr } = await this.#lab.vsky([...this.#words(step, name), '--json'])
      if (code === 0) return
      const said = spoken(stderr)
      if (tries > 0 && doneBefore[step].includes(said.error)) return
      this.refusals.push(`${name} could not be ${step}: ${said.error}: ${said.message}`)
      if (performance.now() > until) throw new Error(`for ${STEP_MS / 1000} s ${name} could not be ${step}: ${said.message}`)
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
  }

  #words(step: Step, name: string): readonly string[] {
    switch (step) {
      case 'created': return ['volume', 'create', name, '--size', '64MiB', '--redundancy', '2']
      case 'attached': return ['volume', 'attach', name, '--host', this.#head]
      case 'detached': return ['volume', 'detach', name]
      case 'deleted': return ['volume', 'delete', name]
    }
  }

  /** Ends with a volume deleted. Rejects when a step never succeeded. */
  async stop(): Promise<void> {
    this.#over = true
    await this.#loop
  }
}

function spoken(stderr: string): Spoken {
  try {
    return JSON.parse(stderr) as Spoken
  } catch {
    return { error: '', message: stderr.trim() }
  }
}

/** Steps that were done twice, or never, by the events. Empty when each was done once. */
export async function notOnce(lab: Lab, names: readonly string[]): Promise<readonly string[]> {
  const events: EventView[] = []
  for (;;) {
    const some = await ask(lab, 'eventList', { after: events.at(-1)?.seq ?? 0, limit: 1000, about: 'volume' })
    if (some.length === 0) break
    events.push(...some)
  }
  return names.flatMap((name) => steps.flatMap((step) => {
    const times = events.filter((event) => event.name === name && event.kind === `volume ${step}`).length
    return times === 1 ? [] : [`${name} was ${step} ${times} times`]
  }))
}

/** Orders in the agents' journals that were carried out for a manager although a newer one had been heard. Empty when epochs came in order. */
export async function outOfOrder(lab: Lab): Promise<readonly string[]> {
  const found = await Promise.all(lab.hosts.filter(hasAgent).map(async ({ name }) => {
    const journal = await lab.must(name, ['bash', '-c', 'cat /var/lib/vsky/journal.1 /var/lib/vsky/journal 2>/dev/null; true'])
    let highest = 0
    return journal.split('\n').flatMap((line) => {
      const [, epoch = '', rest = ''] = /^\S+ epoch (\d+) (.*)$/.exec(line) ?? []
      const late = Number(epoch) < highest && / done \d+ ms$/.test(rest)
      highest = Math.max(highest, Number(epoch))
      return late ? [`${name}: ${line} (after epoch ${highest})`] : []
    })
  }))
  return found.flat()
}
