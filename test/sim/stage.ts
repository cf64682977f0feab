/** What the people of a story (stories.ts) do. What is acknowledged to them has had its effect, once: that is looked at then, and again in the end. */
import { Fault } from '../../lib/faults.js'
import { extentRows, notYetWhole, segmentRows, volumeRows } from './invariants.js'
import { detach, remove } from './people.js'
import { until } from './run.js'
import type { Volume, World } from './world.js'

const MIB = 1024 * 1024
/** Two segments, the second one cut short. */
const BYTES = 80 * MIB
/** A silent server's grace time, and the copies after it. */
const WHOLE_MS = 10 * 60_000

/** One story under way: what was acknowledged in it, and what has to be there for that. */
export class Stage {
  readonly world: World
  /** `KIND NAME` of an event → how often it must have been written in the end. */
  readonly #acknowledged = new Map<string, number>()
  /** The same, that may have come about without one: what was asked for was done by something else. */
  readonly #otherwise = new Map<string, number>()
  #volume: Volume | undefined

  constructor(world: World) {
    this.world = world
  }

  get volume(): Volume {
    if (!this.#volume) throw new Error('the story has no volume yet')
    return this.#volume
  }

  #ack(event: string, claim: string | undefined): void {
    this.#acknowledged.set(event, (this.#acknowledged.get(event) ?? 0) + 1)
    this.world.transcript.say('people', `acknowledged: ${event}`)
    if (claim !== undefined) this.world.transcript.violate('what is acknowledged is there', `${event}: ${claim}`)
  }

  #row(): ReturnType<typeof volumeRows>[number] | undefined {
    return volumeRows(this.world).find((row) => row.id === this.#volume?.id)
  }

  #is(phase: string, head: string): string | undefined {
    const row = this.#row()
    return row?.phase === phase && row.head === head ? undefined : `it is ${row ? `${row.phase} (${row.head})` : 'not there'}`
  }

  async create(): Promise<void> {
    const { world } = this
    const volume = await world.createVolume({ bytes: BYTES, redundancy: 2 })
    this.#volume = volume
    const legs = extentRows(world).filter((extent) => extent.volume === volume.id)
    const all = legs.length === 4 && legs.every((leg) => leg.leg === 'insync' && leg.state === 'ready') && segmentRows(world, volume.id).length === 2
    this.#ack(`volume created ${volume.name}`, volumeRows(world).length !== 1 ? `there are ${volumeRows(world).length} volumes` : all ? this.#is('detached', '') : `${legs.length} legs`)
  }

  async attach(head: string, options: { readonly fromDeadHost?: boolean } = {}): Promise<void> {
    const { world, volume } = this
    await world.attach(volume, world.host(head), options)
    // The answer may come late: a head that counts as lost by then keeps nothing.
    this.#ack(`volume attached ${volume.name}`, this.#duty(head) === 'failed' ? undefined : this.#is('attached', head))
  }

  /** Its guest is shut down first. */
  async detach(): Promise<void> {
    const head = this.#row()?.head ?? ''
    await detach(this.world, this.volume)
    const event = `volume detached ${this.volume.name}`
    if (this.#duty(head) !== 'failed') return this.#ack(event, this.#is('detached', ''))
    // The answer may come late: a head that counts as lost by then was shut out, and the volume may be on its way to another one.
    this.#otherwise.set(event, (this.#otherwise.get(event) ?? 0) + 1)
    return this.#ack(event, this.#row()?.head === head ? this.#is('detached', '') : undefined)
  }

  async delete(): Promise<void> {
    const { name } = this.volume
    await remove(this.world, this.volume)
    this.#ack(`volume deleted ${name}`, volumeRows(this.world).length === 0 ? undefined : this.#is('gone', ''))
    this.#volume = undefined
  }

  async fail(host: string): Promise<void> {
    await this.world.admin.ask('hostFail', { host, force: true })
    this.#ack(`host failed ${host}`, this.#duty(host) === 'failed' ? undefined : `its duty is ${this.#duty(host)}`)
  }

  async use(host: string): Promise<void> {
    await this.world.admin.ask('hostUse', { host })
    this.#ack(`host in use ${host}`, this.#duty(host) === 'use' ? undefined : `its duty is ${this.#duty(host)}`)
  }

  #duty(host: string): string {
    return String(this.world.store.read('select duty from hosts where name = ?', [host])[0]?.['duty'])
  }

  /** Moves all legs away from the disk of the volume's first leg, and takes the disk into use again. */
  async evacuate(): Promise<void> {
    const leg = this.firstLeg()
    const label = `${leg.host}:/dev/${this.world.host(leg.host).disks[0]?.kernel ?? ''}`
    await this.world.admin.ask('diskEvacuate', { disk: leg.disk })
    const duty = this.world.store.read('select duty from disks where id = ?', [leg.disk])[0]?.['duty']
    this.#ack(`disk evacuation begins ${label}`, duty === 'evacuate' ? undefined : `its duty is ${String(duty)}`)
    await until(this.world, WHOLE_MS, `nothing is on ${label}`, () => extentRows(this.world).filter((extent) => extent.disk === leg.disk).map((extent) => `extent ${extent.id} is`)[0])
    await this.world.admin.ask('diskUse', { disk: leg.disk })
    this.#ack(`disk in use ${label}`, undefined)
  }

  /** Until disks are about equally full, or as near to it as whole legs allow. */
  async rebalance(): Promise<void> {
    const open = (): string | undefined => this.world.store.read('select state, note from rebalances where state in (\'waiting\', \'running\')').map(({ state, note }) => `${String(state)}: ${String(note)}`)[0]
    const before = this.#spread()
    await this.world.admin.ask('rebalanceApply', {})
    this.#ack('rebalance begins mgr', undefined)
    await until(this.world, WHOLE_MS, 'the disks are about equally full', open)
    if (this.#spread() >= before) this.world.transcript.violate('what is acknowledged is there', `rebalance: the fullest and the emptiest disk differ by ${this.#spread()} bytes, before by ${before}`)
  }

  /** Bytes of legs by which the fullest and the emptiest disk differ. */
  #spread(): number {
    const used = this.world.servers.map(({ name }) => Number(this.world.store.read('select coalesce(sum(bytes), 0) as used from extents where host = ? and state <> \'dropping\'', [name])[0]?.['used']))
    return Math.max(...used) - Math.min(...used)
  }

  firstLeg(): { readonly host: string; readonly disk: string } {
    const leg = extentRows(this.world).find((extent) => extent.volume === this.volume.id)
    if (!leg) throw new Error('no leg')
    return leg
  }

  /** A refusal is an answer here: somebody else wants something else at the same time. */
  async unlessRefused(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (thrown) {
      if (!(thrown instanceof Fault)) throw thrown
      this.world.transcript.say('people', `${thrown.fault}: ${thrown.message}`)
    }
  }

  /** A head that counts as lost keeps nothing. */
  async takenFrom(head: string): Promise<void> {
    this.volume.guest?.stop()
    await until(this.world, WHOLE_MS, `the volume is taken from ${head}`, () => this.#is('detached', ''))
  }

  powerOff(host: string): void {
    this.world.host(host).powerOff(true)
    this.world.networkChanged()
  }

  powerOn(host: string): void {
    this.world.host(host).powerOn()
    this.world.networkChanged()
  }

  async set(name: string, value: number): Promise<void> {
    await this.world.admin.ask('settingSet', { name, value })
  }

  whole(): Promise<void> {
    return until(this.world, WHOLE_MS, 'all is whole', () => notYetWhole(this.world))
  }

  /** Until no leg is left on a server, but for those that its return will remove. */
  movedFrom(host: string): Promise<void> {
    return until(this.world, WHOLE_MS, `the legs on ${host} are made anew elsewhere`, () => {
      const legs = extentRows(this.world).filter((extent) => extent.state !== 'dropping')
      return legs.some((leg) => leg.host === host) || legs.length !== 4 || legs.some((leg) => leg.leg !== 'insync') ? legs.map((leg) => `${leg.host} ${leg.leg}`).join(', ') : undefined
    })
  }

  /** What was acknowledged has been done as often as it was acknowledged, and nothing is under way any more. Gives what is wrong. */
  wrong(): string | undefined {
    const { store } = this.world
    const kinds = [...new Set([...this.#acknowledged.keys()].map((event) => event.slice(0, event.lastIndexOf(' '))))]
    const done = new Map(store.read(`select kind, name, count(*) as count from events where kind in (${kinds.map(() => '?').join(', ')}) group by kind, name`, kinds)
      .map(({ kind, name, count }) => [`${String(kind)} ${String(name)}`, Number(count)]))
    for (const event of new Set([...this.#acknowledged.keys(), ...done.keys()])) {
      const [acknowledged, found] = [this.#acknowledged.get(event) ?? 0, done.get(event) ?? 0]
      if (found > acknowledged || found < acknowledged - (this.#otherwise.get(event) ?? 0)) return `${event}: acknowledged ${acknowledged} times, done ${found} times`
    }
    const job = store.read('select kind, name, state from jobs where state in (\'waiting\', \'running\')')[0]
    return job && `job ${String(job['kind'])} of ${String(job['name'])} is ${String(job['state'])}`
  }
}
