/**
 * `npm run lab:thrash`: a cluster of its own, volumes with writers on them, and one fault after another, chosen by a seed. They come in
 * rounds, in which they overlap; after each round all is healed and everything is checked. The last lines say what was seen, where the
 * time went, and how to do the same again.
 */
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, Option } from 'commander'
import { messageOf } from '../../lib/faults.js'
import { Lab } from '../lab/lab.js'
import { defaultWish } from '../lab/plan.js'
import { leftovers } from '../lab/trial.js'
import { forcedMovesOf, Hand, hold, insist } from './apply.js'
import type { Heal, Holding } from './apply.js'
import { compareLegs, findLosses, waitBack, waitWriting } from './check.js'
import { afterCheck, afterStep, chooseStep, chooseVolumes, describe, kinds, labelOf, needsOf, roundLength } from './faults.js'
import type { Kind, Model, Step } from './faults.js'
import { Tally } from './tally.js'
import { ThrashedVolume, wait } from './volume.js'

const dist = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const EXTENT_MEBIBYTES = 64
const DISK_MEBIBYTES = 512
/** Of some 7 on each of 8 disks: the rest is where legs are repaired to. */
const EXTENTS_MAX = 28
const CLEAN_MS = 120_000
const PATIENCE_S = 300
const HEADS = 2
const LONGEST = 6
/** Between two requests of one of a writer's four, ms at most: without it the guests that share this machine starve each other. */
const PAUSE_MS = 60
/** A request that waits for so long is a violation, whatever is wrong just now: no round lasts as long, and none takes away the last leg. */
const STUCK_MS = 120_000
const started = performance.now()

interface Options {
  readonly seed: number
  readonly faults: number
  readonly minutes: number
  readonly lab: string
  readonly keep: boolean
  /** Fewer faults than asked for are a failure. */
  readonly all: boolean
  readonly cruel: boolean
  readonly repair: boolean
  /** Seconds. */
  readonly patience: number
  readonly only: readonly Kind[]
  readonly heads: number
  readonly longest: number
  /** ms. */
  readonly pause: number
}

function say(text: string): void {
  console.log(`${((performance.now() - started) / 1000).toFixed(1).padStart(7)} s  ${text}`)
}

const whole = (text: string): number => {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${JSON.stringify(text)} is not a whole number`)
  return Number(text)
}
const kindList = (text: string): readonly Kind[] => {
  const unknown = text.split(',').filter((each) => !kinds.some((kind) => kind === each))
  if (unknown.length > 0) throw new Error(`unknown kinds of fault: ${unknown.join(', ')}; there are ${kinds.join(', ')}`)
  return kinds.filter((kind) => text.split(',').includes(kind))
}

function readOptions(): Options {
  const program = new Command('npm run lab:thrash --').description('Faults without end on a cluster of real Linux kernels, and what must hold all the same').showHelpAfterError()
    .addOption(new Option('--seed <n>', 'the same seed does the same; without it a random one').argParser(whole))
    .addOption(new Option('--faults <n>', 'ends after so many').default(30).argParser(whole)).addOption(new Option('--minutes <n>', 'ends after so long').default(20).argParser(whole))
    .addOption(new Option('--only <kinds>', 'only these faults, with commas').argParser(kindList).default(kinds, 'all')).option('--cruel', 'several at once, more than the volumes can bear')
    .option('--all', 'fails when there was no time for all the faults')
    .option('--no-repair', 'for a product that does not repair legs: only faults that make none stale for good').option('--keep', 'leaves the cluster up')
    .addOption(new Option('--patience <seconds>', 'how long all may take to come back after it was healed').default(PATIENCE_S).argParser(whole))
    .addOption(new Option('--heads <n>', 'hosts that volumes are attached to').default(HEADS).argParser(whole)).addOption(new Option('--longest <n>', 'faults between two checks, at most').default(LONGEST).argParser(whole))
    .addOption(new Option('--pause <ms>', 'between two requests of one of a writer\'s four, at most').default(PAUSE_MS).argParser(whole))
    .addOption(new Option('--lab <name>', 'name of the lab').default('thrash'))
  program.parse()
  const options = program.opts<Partial<Options> & { faults: number; minutes: number; lab: string; only: readonly Kind[]; repair: boolean; patience: number; heads: number; longest: number; pause: number }>()
  if (options.heads < 2 || options.longest < 3) throw new Error('at least 2 heads, and 3 faults between two checks')
  return { ...options, seed: options.seed ?? Math.floor(Math.random() * 1e6), keep: options.keep === true, cruel: options.cruel === true, all: options.all === true }
}

function againCommand({ seed, faults, minutes, only, cruel, repair, patience, heads, longest, pause }: Options): string {
  const others = ([['patience', patience, PATIENCE_S], ['heads', heads, HEADS], ['longest', longest, LONGEST], ['pause', pause, PAUSE_MS]] as const).filter(([, value, usual]) => value !== usual)
  return `npm run lab:thrash -- --seed ${seed} --faults ${faults} --minutes ${minutes}${only.length < kinds.length ? ` --only ${only.join(',')}` : ''}${cruel ? ' --cruel' : ''}${repair ? '' : ' --no-repair'}${others.map(([name, value]) => ` --${name} ${value}`).join('')}`
}

class Run {
  readonly tally = new Tally()
  readonly #options: Options
  readonly #lab: Lab
  readonly #volumes: readonly ThrashedVolume[]
  readonly #hand: Hand
  #holdings: Holding[] = []
  /** Volumes with a request that waits for too long, as told. */
  readonly #stuck = new Set<string>()

  constructor(lab: Lab, options: Options) {
    this.#options = options
    this.#lab = lab
    const heads = lab.hosts.filter((host) => host.kind === 'head').map((host) => host.name)
    this.#volumes = chooseVolumes(options.seed, heads, { extentMebibytes: EXTENT_MEBIBYTES, extentsMax: EXTENTS_MAX }).map((plan) => new ThrashedVolume(lab, options.seed, plan, { extentMebibytes: EXTENT_MEBIBYTES, pauseMs: options.pause }, {
      stall: (ms) => { this.tally.stall(ms, performance.now()) },
      waits: (ms) => { this.#waits(plan.name, ms) },
      note: (text) => { say(`  ${text}`) },
      error: (text) => { this.#ioError(text) },
      violation: (text) => { this.#violation(text) },
    }))
    this.#hand = new Hand(lab, this.#volumes, (text) => { this.#refused(text) })
  }

  /** No violation: the same command is given again. But worth a look. */
  #refused(text: string): void {
    this.tally.refusals.push(text)
    say(`  REFUSED: ${text}`)
  }

  #violation(text: string): void {
    this.tally.violations.push(text)
    say(`VIOLATION: ${text}`)
  }

  #waits(name: string, ms: number): void {
    if (ms < STUCK_MS) this.#stuck.delete(name)
    else if (!this.#options.cruel && !this.#stuck.has(name)) {
      this.#stuck.add(name)
      this.#violation(`${name} on ${this.#volumes.find((volume) => volume.name === name)?.head ?? ''}: a request waits since ${(ms / 1000).toFixed(1)} s`)
    }
  }

  /** A volume that more was taken from than it can bear may say so. */
  #ioError(text: string): void {
    this.tally.errors.push(text)
    if (this.#options.cruel) say(`  I/O error: ${text}`)
    else this.#violation(`I/O error: ${text}`)
  }

  async story(): Promise<void> {
    const told = (text: string): void => { this.#refused(text) }
    const forced = forcedMovesOf(this.#lab)
    // One after the other, so that each finds the same room every time.
    for (const { name, plan: { mebibytes, redundancy } } of this.#volumes) await insist(this.#lab, ['volume', 'create', name, '--size', `${mebibytes}MiB`, '--redundancy', String(redundancy)], told)
    await Promise.all(this.#volumes.map(async (volume) => {
      const { name, plan: { mebibytes, redundancy } } = volume
      await insist(this.#lab, ['volume', 'attach', name, '--host', volume.head], told)
      await volume.start()
      say(`${name}: ${mebibytes} MiB, ${redundancy} legs, on ${volume.head}, being written`)
    }))
    await waitWriting(this.#volumes)
    await this.#check()
    this.tally.spend('before the first fault', performance.now() - started)
    await this.#rounds(this.#model(await forced))
    await this.#clear()
  }

  #model(forced: Model['forced']): Model {
    const named = (kind: string): readonly string[] => this.#lab.hosts.filter((host) => host.kind === kind).map((host) => host.name)
    const { cruel, repair, only, longest } = this.#options
    return {
      storage: named('storage'), heads: named('head'), disks: this.#lab.wish.disks, cruel, longest, repair, only, forced, down: [], harmed: [],
      volumes: this.#volumes.map(({ name, head, plan }) => ({ name, head, redundancy: plan.redundancy })),
    }
  }

  async #rounds(first: Model): Promise<void> {
    const { seed, faults, minutes } = this.#options
    const until = started + minutes * 60_000
    let model = first
    let number = 0
    for (let round = 0; number < faults && performance.now() < until; round += 1) {
      for (let left = roundLength(seed, round, model); left > 0 && number < faults; left -= 1) {
        number += 1
        const step = chooseStep(seed, number, model, left)
        if (!step) break
        await this.#do(number, step, model)
        model = afterStep(model, step)
      }
      await this.#healAll()
      await this.#check()
      if (this.tally.violations.length > 0) return
      model = afterCheck(model)
    }
  }

  async #do(number: number, step: Step, model: Model): Promise<void> {
    const needs = needsOf(step.fault, model)
    await this.#timed('for a host that has no power yet', () => Promise.all(this.#holdings.filter(({ step: { fault, stays } }) => !stays && 'host' in fault && fault.kind.endsWith('-power') && needs.includes(fault.host)).map(({ over }) => over)))
    say(`${number}. ${describe(step)}`)
    this.tally.fault(labelOf(step.fault), performance.now())
    let heal: Heal | undefined
    try {
      heal = await this.#timed(step.fault.kind.endsWith('move') ? 'moving volumes' : 'doing other faults', () => this.#hand.apply(step.fault))
    } catch (thrown) {
      // Taken together, the faults of a cruel mix may leave no way to do this one: what was begun is ended after the heal.
      if (!this.#options.cruel) throw thrown
      say(`  not done: ${messageOf(thrown)}`)
    }
    if (heal) this.#holdings.push(hold(step, heal))
    await this.#timed('until the next fault', () => wait(step.gapMs))
  }

  async #timed<T>(what: string, work: () => Promise<T>): Promise<T> {
    const from = performance.now()
    try {
      return await work()
    } finally {
      this.tally.spend(what, performance.now() - from)
    }
  }

  async #healAll(): Promise<void> {
    await this.#timed('until faults have lasted', () => Promise.all(this.#holdings.map(({ over }) => over)))
    const from = performance.now()
    await Promise.all(this.#holdings.map(({ end }) => end()))
    this.#holdings = []
    // What a forced move that could not be done has left.
    await Promise.all(this.#lab.hosts.filter((host) => !this.#lab.powered(host.name)).map((host) => this.#lab.powerOn(host.name)))
    const healed = performance.now()
    await waitBack(this.#lab, this.#volumes, { ...this.#options, told: (text) => { say(`  ${text}`) } })
    const back = performance.now()
    await waitWriting(this.#volumes)
    for (const [what, ms] of [['healing', healed - from], ['until all is back and full', back - healed], ['until all write', performance.now() - back]] as const) this.tally.spend(what, ms)
    say(`  all is healed after ${((healed - from) / 1000).toFixed(1)} s, back and full after ${((back - from) / 1000).toFixed(1)} s, written after ${((performance.now() - from) / 1000).toFixed(1)} s`)
  }

  async #check(): Promise<void> {
    const from = performance.now()
    const lost = await this.#timed('reading all back', () => Promise.all(this.#volumes.map((volume) => findLosses(volume))))
    const { compared, wrong } = await this.#timed('comparing legs', async () => compareLegs(this.#lab, await Promise.all(this.#volumes.map((volume) => volume.show()))))
    for (const text of [...lost.flat(), ...wrong]) this.#violation(text)
    const writes = this.#volumes.reduce((sum, volume) => sum + volume.ledger.writes, 0)
    const blocks = this.#volumes.reduce((sum, volume) => sum + volume.ledger.written, 0)
    say(`  checked: ${writes} acknowledged writes so far on ${blocks} blocks, ${compared} legs compared, ${this.tally.violations.length} violations [${((performance.now() - from) / 1000).toFixed(1)} s]`)
    this.tally.calm(performance.now())
    for (const volume of this.#volumes) volume.goOn()
  }

  /** All volumes are deleted; nothing may be left of them. */
  async #clear(): Promise<void> {
    if (this.#options.keep || this.tally.violations.length > 0) return // what is wrong is to be looked at
    await Promise.all(this.#volumes.map(async (volume) => {
      await volume.stop()
      for (const verb of ['detach', 'delete']) await insist(this.#lab, ['volume', verb, volume.name], (text) => { this.#refused(text) })
    }))
    const until = performance.now() + CLEAN_MS
    let left = await leftovers(this.#lab)
    while (left.length > 0 && performance.now() < until) {
      await wait(1000)
      left = await leftovers(this.#lab)
    }
    for (const each of left) this.#violation(`left behind: ${each}`)
    say(`all volumes are deleted, ${left.length === 0 ? 'nothing' : `${left.length} things`} left behind`)
  }
}

async function showLogs(lab: Lab): Promise<void> {
  for (const { name } of await lab.json<readonly { name: string }[]>(['volume', 'list']).catch(() => [])) console.log((await lab.vsky(['volume', 'show', name])).stdout)
  for (const host of lab.hosts.filter((each) => lab.powered(each.name))) console.log(`--- ${host.name}\n${await lab.logs(host.name, { lines: 12 }).catch(() => 'no log')}`)
}

async function main(options: Options): Promise<number> {
  console.log(`${againCommand(options)}\n`)
  await Lab.down(options.lab)
  const lab = await Lab.up({ ...defaultWish, name: options.lab, storage: 4, heads: options.heads, disks: 2, diskBytes: BigInt(DISK_MEBIBYTES) * 1024n ** 2n, extentSize: `${EXTENT_MEBIBYTES}MiB`, dist }, say)
  const run = new Run(lab, options)
  try {
    await run.story()
  } catch (thrown) {
    run.tally.violations.push(messageOf(thrown))
    say(`VIOLATION: ${messageOf(thrown)}`)
  }
  if (run.tally.violations.length > 0) await showLogs(lab)
  if (!options.keep) await lab.down()
  else console.log(`\nThe cluster stays up: npm run lab -- --lab ${options.lab} status; to remove it: npm run lab -- --lab ${options.lab} down`)
  const { tally } = run
  const minutes = (performance.now() - started) / 60_000
  console.log(`\nseconds per fault:\n${tally.spentLines().join('\n')}`)
  console.log(`\n${tally.faults} faults\n${tally.lines().join('\n')}${options.cruel ? `\n${tally.errors.length} I/O errors` : ''}`)
  if (tally.refusals.length > 0) console.log(`${tally.refusals.length} commands were refused at first`)
  console.log(`\n${tally.violations.length} violations after ${minutes.toFixed(1)} minutes, ${(tally.faults / minutes).toFixed(1)} faults a minute${tally.violations.map((each) => `\n  ${each}`).join('')}\nto repeat: ${againCommand(options)}`)
  if (options.all && tally.faults < options.faults) {
    console.log(`only ${tally.faults} of ${options.faults} faults were done`)
    return 1
  }
  return tally.violations.length === 0 ? 0 : 1
}

try {
  const options = readOptions()
  const interrupted = (): void => {
    console.error('\ninterrupted: the lab is taken down')
    void Lab.down(options.lab).then(() => process.exit(130))
  }
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  process.exit(await main(options))
} catch (thrown) {
  console.error(`thrash: ${messageOf(thrown)}`)
  process.exit(1)
}
