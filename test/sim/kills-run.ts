/** Plays stories for npm run sim:kills and tells of each process how many points it has in it, and what became of them. */
import { play } from './kills.js'
import { stories } from './stories.js'
import type { Story } from './stories.js'

export interface Arguments {
  readonly story?: string | undefined
  /** `manager`, or a host: its agent. */
  readonly process?: string | undefined
  readonly point?: string | undefined
  /** Only points with this in their words. */
  readonly step: string
  /** Only every so many-th point. */
  readonly every: string
  readonly lines: string
  readonly verbose: boolean
}

const nameOf = (process: string): string => (process === 'manager' ? 'mgr' : process)
const toldAs = (process: string): string => (process === 'mgr' ? 'manager' : process)
const quoted = (name: string): string => (/\s/.test(name) ? `'${name}'` : name)

function tell(transcript: readonly string[], { lines }: Arguments): void {
  if (Number(lines) > 0) console.log(transcript.slice(-Number(lines)).join('\n'))
}

/** Gives the exit code: 0 when every point that was asked for went well. */
export async function runKills(args: Arguments): Promise<number> {
  const chosen = stories.filter(({ name }) => args.story === undefined || name === args.story)
  if (chosen.length === 0) throw new Error(`no story ${args.story ?? ''}: there are ${stories.map(({ name }) => name).join(', ')}`)
  const began = performance.now()
  let [points, failures] = [0, 0]
  for (const story of chosen) {
    const told = await enumerate(story, args)
    points += told.points
    failures += told.failures
  }
  console.log(`${points} points, ${failures === 0 ? 'every one of them went well' : `${failures} FAILED`}, ${((performance.now() - began) / 1000).toFixed(0)} s`)
  return failures === 0 ? 0 : 1
}

async function enumerate(story: Story, args: Arguments): Promise<{ readonly points: number; readonly failures: number }> {
  const counted = await play(story, undefined, args.verbose && args.point === undefined)
  if (counted.violation !== undefined) {
    console.log(`${story.name}: FAILED with nobody killed: ${counted.violation}`)
    tell(counted.lines, args)
    return { points: 0, failures: 1 }
  }
  let [points, failures] = [0, 0]
  for (const [process, steps] of [...counted.points].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (args.process !== undefined && nameOf(args.process) !== process) continue
    const began = performance.now()
    const wanted = steps.map((_, at) => at + 1).filter((point) => steps[point - 1]?.includes(args.step)).filter((point) => (args.point === undefined ? (point - 1) % Number(args.every) === 0 : point === Number(args.point)))
    let failed = 0
    for (const point of wanted) {
      const { violation, points: again, lines } = await play(story, { process, point }, args.verbose)
      const step = steps[point - 1] ?? ''
      const wrong = violation ?? (again.get(process)?.[point - 1] === step ? undefined : `point ${point} is another one the second time: ${again.get(process)?.[point - 1] ?? 'none'}`)
      if (wrong === undefined) continue
      failed += 1
      if (!args.verbose) tell(lines, args)
      console.log(`FAILED: ${story.name}: ${toldAs(process)} dies at point ${point}, ${step}: ${wrong}\nthe same again: npm run sim:kills -- --story ${quoted(story.name)} --process ${toldAs(process)} --point ${point} -v`)
    }
    points += wanted.length
    failures += failed
    console.log(`${story.name}: ${toldAs(process)}: ${steps.length} points${wanted.length === steps.length ? '' : `, ${wanted.length} of them played`}: ${failed === 0 ? 'ok' : `${failed} FAILED`} (${((performance.now() - began) / 1000).toFixed(1)} s)`)
  }
  return { points, failures }
}
