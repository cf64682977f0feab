/** How a manager that is not the active one says who is, and how that is read: one sentence, known on both sides. */
import { Fault } from '../faults.js'

/** `address`: `https://host:port`; empty when it is not known. */
export function notActive(self: string, { holder, address }: { readonly holder: string; readonly address: string }): Fault {
  const who = holder === '' || holder === self ? 'no manager is known to be' : `${holder} is${address === '' ? '' : `, at ${address}`}`
  return new Fault('not active', `${self} is not the active manager: ${who}`)
}

/** Where the active one is, as far as the answer tells it. */
export function activeAddress(thrown: unknown): string | undefined {
  if (!(thrown instanceof Fault) || thrown.fault !== 'not active') return undefined
  const url = /, at (https:\/\/[^\s/]+)$/.exec(thrown.message)?.[1]
  return url !== undefined && URL.canParse(url) ? url : undefined
}
