/**
 * One line that tells a person how a program failed: what was run, how it ended, after how long, and its last words.
 * Pure, and apart from the runner so that who only prints errors need not load it.
 */
import { never } from '../assert.js'
import type { RunRequest, RunResult } from '../ports.js'

const MAX_ARGV_CHARACTERS = 400
const STDERR_LINES = 3
const MAX_LINE_CHARACTERS = 300

/** `lvs --foo: exit code 5 after 31 ms: Unrecognised option`. Arguments that look like a secret's value are shown as `***`. */
export function failureText(request: RunRequest, result: RunResult): string {
  const said = lastLines(result.stderr)
  const ended = `${showArgv(request)}: ${endText(request, result)} after ${Math.round(result.durationMs)} ms`
  return said === '' ? ended : `${ended}: ${said}`
}

function endText(request: RunRequest, result: RunResult): string {
  switch (result.exit.kind) {
    case 'code': return `exit code ${result.exit.code}`
    case 'signal': return `killed by ${result.exit.signal}`
    case 'timeout': return `no end within its ${request.timeoutMs} ms`
    case 'cancelled': return 'cancelled'
    case 'output too long': return 'too much output'
    case 'not started': return `could not be started (${result.exit.reason})`
    default: return never(result.exit)
  }
}

/**
 * The command as text for logs and errors, quoted where that is needed, cut at 400 characters. iscsiadm takes CHAP secrets as
 * arguments (`-n node.session.auth.password -v SECRET`): the value after a name that says password or secret is hidden.
 */
export function showArgv(request: Pick<RunRequest, 'file' | 'args'>): string {
  let secretNamed = false
  const words = [request.file, ...request.args].map((word, index, all) => {
    const before = index > 0 ? all[index - 1] ?? '' : ''
    if (secretNamed && /^(-v|--value)$/.test(before)) return '***'
    if (index > 0 && /^--?[\w.-]*(password|secret)$/i.test(before)) return '***'
    if (/(password|secret)/i.test(word)) secretNamed = true
    return quote(word.replace(/^([\w.-]*(?:password|secret)[\w.-]*=|--value=).+/i, (whole, name: string) =>
      name === '--value=' && !secretNamed ? whole : `${name}***`))
  })
  return cut(words.join(' '), MAX_ARGV_CHARACTERS)
}

function quote(word: string): string {
  return /^[\w@%+=:,./*-]+$/.test(word) ? word : JSON.stringify(word)
}

function lastLines(text: string): string {
  const lines = text.slice(-4000).split('\n').map((line) => line.trim()).filter((line) => line !== '')
  return lines.slice(-STDERR_LINES).map((line) => cut(line, MAX_LINE_CHARACTERS)).join(' | ')
}

function cut(text: string, characters: number): string {
  return text.length <= characters ? text : `${text.slice(0, characters)}…`
}
