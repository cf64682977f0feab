/** Stands for lib/host/reach.ts: whether packets pass to a server and back, and it has power. */
import { here } from '../inside.js'

export function isListening({ target }: { readonly target: string; readonly addresses: readonly string[] }): Promise<boolean> {
  return here().listens(target)
}
