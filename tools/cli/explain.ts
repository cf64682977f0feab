/** What a failure means to the person at the terminal: what, why, what to do; and the exit code of its class. */
import { Fault, faults, messageOf } from '../../lib/faults.js'
import type { FaultClass } from '../../lib/faults.js'
import { RemoteFault, TransportError } from '../../lib/rpc/client.js'
import { UsageError } from './settings.js'

/** A job that was waited for did not end well. */
export class JobFailed extends Error {
  override readonly name = 'JobFailed'
}

export const exitCodes = {
  usage: 2, 'not found': 3, conflict: 4, 'no room': 5, unavailable: 6, denied: 7, stale: 8, internal: 70,
} as const satisfies Record<FaultClass, number>

export interface Explanation {
  readonly code: number
  /** For people: one to three lines. */
  readonly text: string
  /** For `--json`: one object with stable fields. */
  readonly json: { readonly error: string; readonly code: number; readonly class: FaultClass; readonly message: string; readonly correction: string }
}

export function explain(thrown: unknown): Explanation {
  if (thrown instanceof Fault) {
    const { class: of, correction, code } = faults[thrown.fault]
    return make(thrown.fault, code, of, thrown.message, correction)
  }
  if (thrown instanceof UsageError) return make('usage', 0, 'usage', thrown.message, '')
  if (thrown instanceof JobFailed) return make('job not done', 0, 'conflict', thrown.message, 'vsky explain tells more about what it was doing')
  if (thrown instanceof TransportError) {
    const hint = thrown.kind === 'tls' || thrown.kind === 'reset' ? 'check that the certificate is of this cluster and that this is the manager\'s address'
      : thrown.sent ? 'the call may have been carried out: look before you repeat it' : 'check that the manager runs and can be reached from here'
    return make('manager unreachable', 0, 'unavailable', thrown.message, hint)
  }
  if (thrown instanceof RemoteFault) return make('unknown fault', thrown.code, 'internal', thrown.message, 'the server is of another release')
  return make('internal error', 0, 'internal', messageOf(thrown), 'this is a bug of the command')
}

function make(error: string, code: number, of: FaultClass, message: string, correction: string): Explanation {
  const advice = correction === '' ? '' : `\n  to do: ${correction}`
  return { code: exitCodes[of], text: `vsky: ${message}\n  ${error}${code === 0 ? '' : ` (fault ${code})`}${advice}`, json: { error, code, class: of, message, correction } }
}
