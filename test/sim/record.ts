/** The transcript: what happened, a line each, in order. And violations: what must not be. */
import type { Log, LogFields } from '../../lib/ports.js'
import type { Timeline } from './clock.js'

export class Violation extends Error {
  override readonly name = 'Violation'
}

const LINES_KEPT = 20_000

export class Transcript {
  readonly lines: string[] = []
  readonly #timeline: Timeline
  readonly #echo: boolean
  /** The first thing that must not be. */
  violation: Violation | undefined
  /** A sum over all lines: two runs of one seed have the same. */
  hash = 0
  count = 0

  constructor(timeline: Timeline, echo: boolean) {
    this.#timeline = timeline
    this.#echo = echo
  }

  say(who: string, text: string): void {
    const line = `${(this.#timeline.now / 1000).toFixed(3).padStart(9)} ${who}: ${text}`
    this.count += 1
    for (let at = 0; at < line.length; at += 1) this.hash = (Math.imul(this.hash, 31) + line.charCodeAt(at)) | 0
    this.lines.push(line)
    if (this.lines.length > LINES_KEPT) this.lines.splice(0, LINES_KEPT / 2)
    if (this.#echo) console.log(line)
  }

  violate(law: string, text: string): void {
    this.say('VIOLATION', `${law}: ${text}`)
    this.violation ??= new Violation(`${law}: ${text}`)
  }

  /** For a process. What says that the program itself is wrong is a violation. */
  log(who: string, base: LogFields = {}): Log {
    const line = (level: string, message: string, fields: LogFields = {}): void => {
      const all = Object.entries({ ...base, ...fields }).filter(([, value]) => value !== undefined)
      const text = `${level} ${message}${all.map(([key, value]) => ` ${key}=${Array.isArray(value) ? value.join(',') : String(value)}`).join('')}`
      this.say(who, text)
      const error = typeof fields.error === 'string' ? fields.error : ''
      if (/is not a function|Cannot read propert|is not iterable|cannot have "|broken invariant|the world does not know/.test(error)) this.violate('no program error', `${who}: ${text}`)
    }
    return {
      debug: () => undefined,
      info: (message, fields) => { line('info', message, fields) },
      warn: (message, fields) => { line('warn', message, fields) },
      error: (message, fields) => { line('error', message, fields) },
      child: (fields) => this.log(who, { ...base, ...fields }),
    }
  }
}
